from __future__ import annotations

from collections.abc import Sequence

import pytest

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.clients.kubernetes import ApiError, ForbiddenError, InvalidError
from cairn.runs.admission import PodAdmission
from cairn.runs.graph import StepGraph
from cairn.runs.instances import RunSteps
from cairn.runs.items import InstanceMaker
from tests.unit.builders import inputs, outputs, pod_context, run_spec, step, template
from tests.unit.clock import ManualClock
from tests.unit.fake_kubernetes import FakeKubernetes

DRY_RUN = "dry-run pods"


def declared(steps: Sequence[Step]) -> RunSteps:
    return InstanceMaker(StepGraph(run_spec(*steps))).stand_ins()


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


async def test_a_pod_that_the_api_server_takes_is_no_problem(kubernetes: FakeKubernetes):
    assert await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([step("train")])) is None
    assert not kubernetes.objects


async def test_a_pod_that_is_not_valid_is_told_with_its_step(kubernetes: FakeKubernetes):
    kubernetes.objections[DRY_RUN] = lambda _: InvalidError(422, "Invalid", "spec.volumes[0].name: Required value")

    problem = await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([step("train")]))

    assert problem == "spec.steps[train]: the API server refuses its pod: spec.volumes[0].name: Required value"


async def test_a_pod_that_a_policy_forbids_is_told(kubernetes: FakeKubernetes):
    kubernetes.objections[DRY_RUN] = lambda _: ForbiddenError(403, "Forbidden", "violates PodSecurity")

    problem = await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([step("train")]))

    assert problem == "spec.steps[train]: its pod is not allowed here: violates PodSecurity"


async def test_a_full_quota_is_no_reason_to_refuse_a_run(kubernetes: FakeKubernetes):
    kubernetes.objections[DRY_RUN] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota: pods")

    assert await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([step("train")])) is None


async def test_an_api_server_that_cannot_answer_is_no_verdict(kubernetes: FakeKubernetes):
    kubernetes.objections[DRY_RUN] = lambda _: ApiError(503, "ServiceUnavailable", "later")

    with pytest.raises(ApiError):
        await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([step("train")]))


async def test_pods_that_differ_in_names_and_texts_only_are_asked_for_once(kubernetes: FakeKubernetes):
    admission = PodAdmission(kubernetes, ManualClock())
    steps = [step("a", args=["1"]), step("b", args=["2"]), step("c", script="true")]

    await admission.problem_of(pod_context(), declared(steps))
    await admission.problem_of(pod_context(), declared(steps))

    assert kubernetes.requests[DRY_RUN] == 1


async def test_pods_with_other_settings_are_asked_for_each(kubernetes: FakeKubernetes):
    steps = [
        step("a"),
        step("b", podTemplate=template(nodeSelector={"gpu": "yes"})),
        step("c", resources={"limits": {"cpu": "1"}}),
        step("d", image="another:1"),
    ]

    await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared(steps))

    assert kubernetes.requests[DRY_RUN] == 4


async def test_a_pod_is_asked_for_again_after_a_while(kubernetes: FakeKubernetes):
    clock = ManualClock()
    admission = PodAdmission(kubernetes, clock)
    await admission.problem_of(pod_context(), declared([step("a")]))
    clock.advance(301)

    await admission.problem_of(pod_context(), declared([step("a")]))

    assert kubernetes.requests[DRY_RUN] == 2


@pytest.mark.parametrize(
    "message",
    [
        'pods "a-x" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes',
        'admission webhook "validate.example.com" denied the request: images must come from here',
        "unable to validate against any security context constraint",
    ],
)
async def test_what_a_policy_denies_is_refused_for_good(kubernetes: FakeKubernetes, message: str):
    kubernetes.objections[DRY_RUN] = lambda _: ForbiddenError(403, "Forbidden", message)

    problem = await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([step("a")]))

    assert problem == f"spec.steps[a]: its pod is not allowed here: {message}"


async def test_a_refused_pod_is_asked_for_again(kubernetes: FakeKubernetes):
    admission = PodAdmission(kubernetes, ManualClock())
    kubernetes.objections[DRY_RUN] = lambda _: InvalidError(422, "Invalid", "no")
    await admission.problem_of(pod_context(), declared([step("a")]))
    kubernetes.objections.clear()

    assert await admission.problem_of(pod_context(), declared([step("a")])) is None


async def test_a_step_is_judged_before_what_it_needs_exists(kubernetes: FakeKubernetes):
    bodies: list[JsonObject] = []
    kubernetes.objections[DRY_RUN] = bodies.append
    load = step("load", outputs=outputs("data", results=["rows"]))
    train = step("train", inputs=inputs(data="load.data"), args=["$(steps.load.results.rows)"])

    assert await PodAdmission(kubernetes, ManualClock()).problem_of(pod_context(), declared([load, train])) is None
    assert [item["name"] for item in bodies[1]["spec"]["initContainers"]] == ["cairn-fetch"]
