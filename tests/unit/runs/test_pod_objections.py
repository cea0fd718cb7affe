from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.clients.kubernetes import JOBS, ApiError, ForbiddenError, NotFoundError
from cairn.runs.job import build_job
from cairn.runs.pod import Attempt
from cairn.runs.pod_objections import HOLDS_SECONDS, PodObjections
from tests.unit.builders import pod_context, step
from tests.unit.clock import ManualClock
from tests.unit.fake_kubernetes import FakeKubernetes

DRY_RUN = "dry-run pods"
FULL = ForbiddenError(403, "Forbidden", "exceeded quota: pods")


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def objections(kubernetes: FakeKubernetes, clock: ManualClock) -> PodObjections:
    return PodObjections(kubernetes, clock)


def jobs(kubernetes: FakeKubernetes, steps: Sequence[Step]) -> list[JsonObject]:
    return [kubernetes.add(JOBS, build_job(pod_context(), [Attempt(one, 1)])) for one in steps]


async def test_what_the_api_server_says_is_told(kubernetes: FakeKubernetes, objections: PodObjections):
    kubernetes.objections[DRY_RUN] = lambda _: FULL
    (job,) = jobs(kubernetes, [step("a")])

    assert await objections.objection_to(job) == "exceeded quota: pods"


async def test_nothing_is_told_where_it_would_take_the_pod(kubernetes: FakeKubernetes, objections: PodObjections):
    (job,) = jobs(kubernetes, [step("a")])

    assert await objections.objection_to(job) is None


async def test_jobs_whose_pods_are_alike_are_asked_for_once(kubernetes: FakeKubernetes, objections: PodObjections):
    kubernetes.objections[DRY_RUN] = lambda _: FULL
    alike = jobs(kubernetes, [step(f"s{index}", args=[str(index)]) for index in range(100)])

    told = await asyncio.gather(*[objections.objection_to(job) for job in alike])

    assert set(told) == {"exceeded quota: pods"}
    assert (kubernetes.requests[DRY_RUN], kubernetes.requests["get jobs"]) == (1, 1)


async def test_another_pod_is_another_question(kubernetes: FakeKubernetes, objections: PodObjections):
    larger = step("b", resources={"requests": {"cpu": "64"}})
    kubernetes.objections[DRY_RUN] = lambda body: FULL if "64" in str(body) else None
    small, large = jobs(kubernetes, [step("a"), larger])

    assert await objections.objection_to(small) is None
    assert await objections.objection_to(large) == "exceeded quota: pods"


async def test_it_is_asked_again_after_a_while(
    kubernetes: FakeKubernetes, objections: PodObjections, clock: ManualClock
):
    kubernetes.objections[DRY_RUN] = lambda _: FULL
    (job,) = jobs(kubernetes, [step("a")])
    await objections.objection_to(job)
    kubernetes.objections.clear()
    clock.advance(HOLDS_SECONDS)

    assert await objections.objection_to(job) is None


async def test_one_that_cannot_judge_is_not_asked_again_at_once(
    kubernetes: FakeKubernetes, objections: PodObjections, clock: ManualClock
):
    kubernetes.objections[DRY_RUN] = lambda _: FULL
    (job,) = jobs(kubernetes, [step("a")])
    await objections.objection_to(job)
    kubernetes.objections[DRY_RUN] = lambda _: ApiError(503, "ServiceUnavailable", "later")
    clock.advance(HOLDS_SECONDS)

    assert [await objections.objection_to(job) for _ in range(2)] == ["exceeded quota: pods"] * 2
    assert kubernetes.requests[DRY_RUN] == 2


async def test_a_job_that_may_not_be_read_is_no_objection(kubernetes: FakeKubernetes, objections: PodObjections):
    (job,) = jobs(kubernetes, [step("a")])
    kubernetes.objections["get jobs"] = lambda _: FULL

    assert await objections.objection_to(job) is None


async def test_a_job_that_is_gone_is_no_answer_for_others(kubernetes: FakeKubernetes, objections: PodObjections):
    kubernetes.objections[DRY_RUN] = lambda _: FULL
    gone = build_job(pod_context(), [Attempt(step("gone"), 1)])
    (job,) = jobs(kubernetes, [step("a")])
    with pytest.raises(NotFoundError):
        await objections.objection_to({**gone, "metadata": {**gone["metadata"], "uid": "gone"}})

    assert await objections.objection_to(job) == "exceeded quota: pods"


async def test_a_job_without_the_annotation_is_asked_for_by_itself(
    kubernetes: FakeKubernetes, objections: PodObjections
):
    alike = jobs(kubernetes, [step("a"), step("b")])
    for job in alike:
        del job["metadata"]["annotations"]
        await objections.objection_to(job)

    assert kubernetes.requests[DRY_RUN] == 2
