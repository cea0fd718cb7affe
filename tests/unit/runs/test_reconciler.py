from __future__ import annotations

import itertools
import json
import time

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.clients.kubernetes import (
    CLAIMS,
    JOBS,
    PIPELINE_RUNS,
    PODS,
    STACK_COMPONENTS,
    STACKS,
    STORAGE_CLASSES,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    TooLargeError,
)
from cairn.clients.store import Key
from cairn.runs.reconciler import RunReconciler
from tests.unit.builders import (
    BUCKET_SPEC,
    GPU_SPEC,
    JOBS_SPEC,
    LAPTOP_SPEC,
    NOW,
    RUN,
    TRANSFER,
    component_body,
    inputs,
    outputs,
    run_body,
    run_spec,
    stack_body,
    step,
)
from tests.unit.fake_kubernetes import World
from tests.unit.pods import PodStory

CREATE_JOBS, WRITE_STATUS = "create jobs", "patch-status pipelineruns"
LOAD = step("load", outputs=outputs("data", results=["rows"]))
TRAIN = step("train", inputs=inputs(data="load.data"), args=["$(steps.load.results.rows)"])
REPORT = json.dumps({"artifacts": {"data": {"digest": "sha256:1", "sizeBytes": 7}}})
PRODUCTION = {"stackRef": {"name": "production"}}


class RunWorld(World):
    """A cluster with a stack, and an operator that reconciles runs in it."""

    def __init__(self) -> None:
        super().__init__()
        self.apply(STACK_COMPONENTS, component_body("jobs", JOBS_SPEC, ready=True))
        self.apply(STACK_COMPONENTS, component_body("laptop", LAPTOP_SPEC, ready=True))
        self.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=True))
        self.apply(STACKS, stack_body("production"))
        self.apply(STACKS, stack_body("one-pod", orchestrator="laptop"))
        self.reconciler = RunReconciler(self.cluster, TRANSFER)

    def restart(self) -> None:
        """Start another operator, which knows nothing but the cluster."""
        self.reconciler = RunReconciler(self.new_view(), TRANSFER)

    def run(self, spec: PipelineRunSpec) -> Key:
        return self.apply(PIPELINE_RUNS, run_body(spec))

    async def reconcile(self, key: Key = ("ml", RUN.name)) -> float | None:
        self.see()
        return await self.reconciler.reconcile(key)

    def jobs(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.kubernetes.all(JOBS)]

    def pod(self, job: str) -> PodStory:
        return PodStory(self.kubernetes.one(JOBS, job))

    def put(self, pod: PodStory) -> None:
        self.kubernetes.add(PODS, pod.body)

    async def crash_after_jobs(self) -> None:
        """Have a run accepted and its first Jobs made, and fail before that is recorded."""

        def die(_: JsonObject) -> ApiError | None:
            return ApiError(500, "Crash", "the operator dies here") if self.jobs() else None

        self.kubernetes.objections[WRITE_STATUS] = die
        with pytest.raises(ApiError):
            await self.reconcile()
        self.kubernetes.objections.clear()

    @property
    def status(self) -> JsonObject:
        return self.kubernetes.one(PIPELINE_RUNS, RUN.name).get("status") or {}

    def states(self) -> dict[str, str]:
        return {item["name"]: item["state"] for item in self.status.get("steps", ())}

    def succeeded(self) -> tuple[str, str]:
        condition = self.condition(PIPELINE_RUNS, RUN.name, "Succeeded")
        return condition["status"], condition["reason"]


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    later = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: later)


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


async def test_a_run_from_its_start_to_its_end(world: RunWorld):
    world.run(run_spec(LOAD, TRAIN, **PRODUCTION))

    await world.reconcile()
    assert (world.jobs(), world.states()) == (["wine-1-load-1"], {"load": "Queued", "train": "Pending"})

    world.put(world.pod("wine-1-load-1").runs("load"))
    await world.reconcile()
    assert world.states()["load"] == "Running"

    pod = world.pod("wine-1-load-1").ends("load", message='{"rows": 3}').ends("cairn-publish", message=REPORT)
    world.put(pod)
    await world.reconcile()
    assert world.jobs() == ["wine-1-load-1", "wine-1-train-1"]
    assert world.pod("wine-1-train-1").body["spec"]["containers"][0]["args"] == ["3"]

    world.put(world.pod("wine-1-train-1").all_end_well())
    await world.reconcile()
    assert world.succeeded() == ("True", "Completed")
    assert world.status["stepsSummary"] == "2/2"
    assert world.status["stack"]["name"] == "production"
    assert world.events() == [("Normal", "Running"), ("Normal", "Completed")]


async def test_a_local_run_has_one_job_for_all_steps(world: RunWorld):
    world.run(run_spec(step("a"), step("b", dependsOn=["a"]), stackRef={"name": "one-pod"}))

    await world.reconcile()

    assert world.jobs() == ["wine-1-a-1"]
    assert world.states() == {"a": "Queued", "b": "Queued"}


async def test_a_local_run_goes_on_in_another_pod_after_a_failure(world: RunWorld):
    world.run(run_spec(step("a"), step("b"), step("c", dependsOn=["a"]), stackRef={"name": "one-pod"}))
    await world.reconcile()
    world.put(world.pod("wine-1-a-1").ends("a", 1, message="boom"))

    await world.reconcile()

    assert world.states() == {"a": "Failed", "b": "Queued", "c": "Skipped"}
    assert world.jobs() == ["wine-1-a-1", "wine-1-b-1"]


async def test_a_failure_is_recorded_with_the_end_of_the_log(world: RunWorld):
    world.run(run_spec(step("only", outputs=outputs(results=["r"])), **PRODUCTION))
    await world.reconcile()
    pod = world.pod("wine-1-only-1").ends("only", 1, message='{"r": 1}')
    world.put(pod)
    world.kubernetes.logs[pod.body["metadata"]["name"], "only"] = "ValueError: no rows"

    await world.reconcile()

    (only,) = world.status["steps"]
    assert (only["state"], only["logTail"], only["exitCode"]) == ("Failed", "ValueError: no rows", 1)
    assert world.events()[-1] == ("Warning", "StepFailed")


async def test_a_log_that_is_gone_does_not_hold_up_the_run(world: RunWorld):
    world.run(run_spec(step("only", outputs=outputs(results=["r"])), **PRODUCTION))
    await world.reconcile()
    world.put(world.pod("wine-1-only-1").ends("only", 1, message='{"r": 1}'))

    await world.reconcile()

    assert world.succeeded() == ("False", "StepFailed")


async def test_a_log_that_cannot_be_read_now_is_read_later(world: RunWorld):
    world.run(run_spec(step("only", outputs=outputs(results=["r"])), **PRODUCTION))
    await world.reconcile()
    world.put(world.pod("wine-1-only-1").ends("only", 1, message='{"r": 1}'))
    world.kubernetes.objections["log pods"] = lambda _: ApiError(503, "ServiceUnavailable", "the kubelet is away")

    await world.reconcile()
    undecided = world.states()
    world.kubernetes.objections.clear()
    world.kubernetes.logs["wine-1-only-1-x7k2p", "only"] = "Traceback"
    await world.reconcile()

    assert (undecided, world.states()) == ({"only": "Running"}, {"only": "Failed"})


async def test_a_job_that_the_api_server_does_not_create_keeps_nothing_from_being_recorded(world: RunWorld):
    world.run(run_spec(step("first"), step("beside"), step("then", dependsOn=["first"]), **PRODUCTION))
    await world.reconcile()
    world.put(world.pod("wine-1-first-1").ends("first", 0))
    world.kubernetes.objections[CREATE_JOBS] = lambda _: ApiError(500, "InternalError", "failed calling webhook")

    await world.reconcile()

    assert world.states() == {"first": "Succeeded", "beside": "Queued", "then": "Pending"}


async def test_a_pod_that_was_not_seen_before_its_job_ended_is_looked_for(world: RunWorld):
    world.run(run_spec(step("only"), **PRODUCTION))
    await world.reconcile()
    pod = world.pod("wine-1-only-1").ends("only", 3).body
    job = world.kubernetes.one(JOBS, "wine-1-only-1")
    world.kubernetes.add(JOBS, {**job, "status": {"conditions": [{"type": "Failed", "status": "True"}]}})
    world.see()
    world.kubernetes.add(PODS, pod)

    await world.reconciler.reconcile(("ml", RUN.name))

    (ended,) = world.status["steps"]
    assert (ended["reason"], ended["exitCode"]) == ("ExitCode", 3)


async def test_a_job_that_gets_no_pod_says_what_the_api_server_has_against_it(
    world: RunWorld, monkeypatch: pytest.MonkeyPatch
):
    world.run(run_spec(step("only"), **PRODUCTION))
    again = await world.reconcile()
    pass_time(monkeypatch, 6)
    world.kubernetes.objections["dry-run pods"] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota: none")

    await world.reconcile()

    (only,) = world.status["steps"]
    assert again == 10
    assert (only["state"], only["reason"], only["message"]) == ("Queued", "FailedCreate", "exceeded quota: none")


class TestNothingRunsTwice:
    async def test_after_a_crash_between_the_job_and_the_status(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.crash_after_jobs()

        world.restart()
        await world.reconcile()

        assert world.kubernetes.requests[CREATE_JOBS] == 1
        assert world.states() == {"only": "Queued"}

    async def test_when_a_job_is_there_that_the_operator_has_not_seen_yet(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.crash_after_jobs()
        world.see()
        world.cluster.jobs.remove(("ml", "wine-1-only-1"))

        await world.reconciler.reconcile(("ml", RUN.name))

        assert world.jobs() == ["wine-1-only-1"]
        assert world.states() == {"only": "Queued"}
        assert len(world.cluster.jobs) == 1

    async def test_when_nothing_has_changed(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        await world.reconcile()
        await world.reconcile()

        assert world.kubernetes.requests == before

    async def test_when_the_run_has_finished(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").all_end_well())
        await world.reconcile()
        world.kubernetes.remove(JOBS, "ml", "wine-1-only-1")
        before = world.kubernetes.requests.copy()

        await world.reconcile()

        assert world.kubernetes.requests == before

    async def test_when_the_status_that_was_read_is_out_of_date(self, world: RunWorld):
        key = world.run(run_spec(step("only"), **PRODUCTION))
        world.see()
        world.kubernetes.add(PIPELINE_RUNS, run_body(run_spec(step("only"), suspend=True, **PRODUCTION)))

        with pytest.raises(ConflictError):
            await world.reconciler.reconcile(key)

        assert world.status == {}


class TestSameNames:
    async def test_another_s_job_of_that_name_is_not_taken_over(self, world: RunWorld):
        world.kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": "wine-1-only-1"}, "spec": {}})
        world.run(run_spec(step("only"), **PRODUCTION))

        again = await world.reconcile()

        (only,) = world.status["steps"]
        assert (only["state"], only["reason"]) == ("Pending", "NameTaken")
        assert again == 10

    async def test_the_run_goes_on_once_the_name_is_free(self, world: RunWorld, monkeypatch: pytest.MonkeyPatch):
        world.kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": "wine-1-only-1"}, "spec": {}})
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.kubernetes.remove(JOBS, "ml", "wine-1-only-1")
        pass_time(monkeypatch, 11)

        await world.reconcile()

        assert world.states() == {"only": "Queued"}

    async def test_a_run_that_is_made_anew_is_checked_though_the_old_one_s_jobs_are_there(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.kubernetes.remove(PIPELINE_RUNS, "ml", RUN.name)

        world.run(run_spec(step("only", dependsOn=["gone"]), **PRODUCTION))
        await world.reconcile()

        assert world.succeeded() == ("False", "InvalidSpec")

    async def test_a_run_that_is_made_anew_ignores_the_pods_of_the_old_one(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").ends("only", 1))
        await world.reconcile()
        for resource, name in ((PIPELINE_RUNS, RUN.name), (JOBS, "wine-1-only-1")):
            world.kubernetes.remove(resource, "ml", name)

        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        await world.reconcile()

        assert world.states() == {"only": "Queued"}

    async def test_a_run_that_is_made_anew_waits_for_the_old_one_s_job_to_go(self, world: RunWorld):
        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").ends("only", 1))
        world.kubernetes.remove(PIPELINE_RUNS, "ml", RUN.name)

        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()

        assert world.status["steps"][0]["reason"] == "NameTaken"


class TestRefusals:
    async def test_a_run_that_makes_no_sense_ends_at_once(self, world: RunWorld):
        world.run(run_spec(step("a", dependsOn=["b"]), step("c", args=["$(params.x)"]), **PRODUCTION))

        assert await world.reconcile() is None

        condition = world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")
        assert (condition["status"], condition["reason"]) == ("False", "InvalidSpec")
        assert condition["message"] == (
            "spec.steps[a].dependsOn: there is no step b; name one of: c; "
            "spec.steps[c].args[0]: $(params.x): the run has no parameter x; write $$( for a literal $("
        )
        assert world.jobs() == []

    async def test_a_spec_that_this_version_does_not_understand_ends_at_once(self, world: RunWorld):
        body = run_body(run_spec(**PRODUCTION))
        body["spec"]["steps"][0]["colour"] = "green"
        world.apply(PIPELINE_RUNS, body)

        await world.reconcile()

        assert world.succeeded() == ("False", "InvalidSpec")

    async def test_a_run_whose_pods_the_api_server_refuses_ends_before_any_is_made(self, world: RunWorld):
        world.kubernetes.objections["dry-run pods"] = lambda _: InvalidError(422, "Invalid", "bad volume")
        world.run(run_spec(**PRODUCTION))

        await world.reconcile()

        assert world.succeeded() == ("False", "InvalidSpec")
        assert world.jobs() == []

    async def test_a_full_quota_makes_a_step_wait(self, world: RunWorld):
        world.run(run_spec(step("a"), step("b"), **PRODUCTION))
        full = ForbiddenError(403, "Forbidden", "exceeded quota: jobs=1")
        world.kubernetes.objections[CREATE_JOBS] = lambda body: full if "-b-" in body["metadata"]["name"] else None

        again = await world.reconcile()

        assert again == 10
        assert world.states() == {"a": "Queued", "b": "Pending"}
        assert world.status["steps"][1]["reason"] == "Forbidden"

    async def test_a_refusal_that_differs_each_time_is_asked_for_at_intervals_only(self, world: RunWorld):
        words = itertools.count()
        world.kubernetes.objections["dry-run pods"] = lambda _: ForbiddenError(
            403, "Forbidden", f"pods a-{next(words)} is forbidden: minimum memory usage per Container is 48Mi"
        )
        world.run(run_spec(step("a"), **PRODUCTION))
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        again = await world.reconcile()

        assert world.kubernetes.requests == before
        assert world.succeeded() == ("Unknown", "PodsNotAdmitted")
        assert again is not None
        assert 0 < again <= 10

    async def test_a_job_that_is_refused_each_time_in_other_words_is_asked_for_at_intervals_only(self, world: RunWorld):
        words = itertools.count()
        world.kubernetes.objections[CREATE_JOBS] = lambda _: ForbiddenError(403, "Forbidden", f"no {next(words)}")
        world.run(run_spec(step("a"), **PRODUCTION))
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        await world.reconcile()

        assert world.kubernetes.requests == before
        assert world.status["steps"][0]["reason"] == "Forbidden"

    async def test_a_job_that_can_never_be_right_ends_its_step(self, world: RunWorld):
        world.kubernetes.objections[CREATE_JOBS] = lambda _: InvalidError(422, "Invalid", "mountPath: must be unique")
        world.run(run_spec(step("a"), **PRODUCTION))

        await world.reconcile()

        assert world.succeeded() == ("False", "StepFailed")
        assert "mountPath: must be unique" in world.status["steps"][0]["message"]

    async def test_a_status_that_is_too_large_is_written_without_logs(self, world: RunWorld):
        def too_large(body: JsonObject) -> ApiError | None:
            text = json.dumps(body)
            return TooLargeError(500, "Unknown", "etcdserver: request is too large") if "logTail" in text else None

        world.run(run_spec(step("only"), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").ends("only", 1, message="a long log"))
        world.kubernetes.objections[WRITE_STATUS] = too_large

        await world.reconcile()

        assert world.succeeded() == ("False", "StepFailed")
        assert "logTail" not in world.status["steps"][0]

    async def test_a_step_starts_once_there_is_room(self, world: RunWorld, monkeypatch: pytest.MonkeyPatch):
        world.run(run_spec(step("a"), **PRODUCTION))
        world.kubernetes.objections[CREATE_JOBS] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota")
        await world.reconcile()
        world.kubernetes.objections.clear()
        pass_time(monkeypatch, 11)

        await world.reconcile()

        assert world.status["steps"] == [
            {
                "name": "a",
                "state": "Queued",
                "attempts": 1,
                "jobName": "wine-1-a-1",
                "message": "Its pod is not made yet.",
            }
        ]


class TestStacks:
    async def test_a_run_waits_for_a_stack_that_is_not_there(self, world: RunWorld):
        world.run(run_spec(stackRef={"name": "later"}))

        again = await world.reconcile()

        assert again == 10
        assert world.succeeded() == ("Unknown", "StackNotReady")
        assert "startTime" not in world.status

    async def test_a_run_starts_when_its_stack_comes(self, world: RunWorld):
        world.run(run_spec(stackRef={"name": "later"}))
        await world.reconcile()
        world.apply(STACKS, stack_body("later"))

        await world.reconcile()

        assert world.succeeded() == ("Unknown", "Running")
        assert world.events() == [("Normal", "StackNotReady"), ("Normal", "Running")]

    async def test_what_runs_goes_on_while_the_stack_is_broken_and_nothing_new_starts(self, world: RunWorld):
        world.run(run_spec(step("a"), step("b", dependsOn=["a"]), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-a-1").all_end_well())
        world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=False))

        again = await world.reconcile()

        assert again == 10
        assert world.states() == {"a": "Succeeded", "b": "Pending"}
        assert world.succeeded() == ("Unknown", "StackNotReady")

    async def test_nothing_new_starts_on_a_stack_that_has_changed_so_that_it_does_not_fit_any_more(
        self, world: RunWorld
    ):
        world.apply(STACK_COMPONENTS, component_body("gpu", GPU_SPEC, ready=True))
        with_gpu = stack_body("production")
        with_gpu["spec"]["stepOperatorRefs"] = [{"name": "gpu"}]
        world.apply(STACKS, with_gpu)
        world.run(run_spec(step("a"), step("b", dependsOn=["a"], stepOperatorRef={"name": "gpu"}), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-a-1").all_end_well())
        world.apply(STACKS, stack_body("production"))

        again = await world.reconcile()

        assert (world.jobs(), again) == (["wine-1-a-1"], 10)
        assert world.succeeded() == ("Unknown", "StackNotReady")
        assert "has no step operator gpu" in world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]

    async def test_a_run_goes_on_with_a_stack_that_has_changed_and_still_fits(self, world: RunWorld):
        world.run(run_spec(step("a"), step("b", dependsOn=["a"]), **PRODUCTION))
        await world.reconcile()
        world.put(world.pod("wine-1-a-1").all_end_well())
        changed = stack_body("production")
        changed["spec"]["env"] = [{"name": "REGION", "value": "eu"}]
        world.apply(STACKS, changed)

        await world.reconcile()

        assert world.states() == {"a": "Succeeded", "b": "Queued"}

    async def test_without_any_stack_a_run_uses_the_built_in_one(self, world: RunWorld):
        world.kubernetes.add(STORAGE_CLASSES, {"metadata": {"name": "standard"}})
        world.kubernetes.add(
            CLAIMS,
            {
                "metadata": {
                    "namespace": "ml",
                    "name": "cairn-default",
                    "labels": {"app.kubernetes.io/managed-by": "cairn", "cairn.dev/component": "default"},
                },
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
                "status": {"phase": "Bound"},
            },
        )
        world.run(run_spec(step("only")))

        await world.reconcile()

        assert world.status["stack"]["name"] == "default"
        assert world.jobs() == ["wine-1-only-1"]

    async def test_a_run_waits_for_the_built_in_stack_s_claim(self, world: RunWorld):
        world.run(run_spec(step("only")))

        await world.reconcile()

        assert world.succeeded() == ("Unknown", "StackNotReady")
        assert "The built-in stack is not ready" in world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]


async def test_a_suspended_run_starts_nothing(world: RunWorld):
    world.run(run_spec(suspend=True, **PRODUCTION))

    await world.reconcile()

    assert (world.jobs(), world.succeeded()) == ([], ("Unknown", "Suspended"))


async def test_a_run_that_is_being_deleted_is_left_alone(world: RunWorld):
    world.apply(PIPELINE_RUNS, run_body(run_spec(**PRODUCTION), deletionTimestamp=NOW, finalizers=["x"]))

    await world.reconcile()

    assert (world.jobs(), world.status) == ([], {})


async def test_a_run_that_is_gone_is_nothing_to_do(world: RunWorld):
    assert await world.reconcile(("ml", "never-there")) is None


async def test_a_run_that_vanishes_while_its_status_is_written_is_forgotten(world: RunWorld):
    key = world.run(run_spec(**PRODUCTION))
    world.see()
    world.kubernetes.remove(PIPELINE_RUNS, *key)

    assert await world.reconciler.reconcile(key) is None
    assert len(world.cluster.runs) == 0
