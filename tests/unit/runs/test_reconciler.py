"""Runs from their start to their end, also across restarts of the operator."""

from __future__ import annotations

import json

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, ApiError, ConflictError
from tests.unit.builders import NOW, inputs, outputs, run_body, run_spec, step
from tests.unit.runs.run_world import CREATE_JOBS, PRODUCTION, RUN_KEY, WRITE_STATUS, RunWorld

LOAD = step("load", outputs=outputs("data", results=["rows"]))
TRAIN = step("train", inputs=inputs(data="load.data"), args=["$(steps.load.results.rows)"])
REPORT = json.dumps({"artifacts": {"data": {"digest": "sha256:1", "sizeBytes": 7}}})
WITH_RESULT = run_spec(step("only", outputs=outputs(results=["r"])), **PRODUCTION)
READS = {"get", "list", "dry-run", "log"}
ONE_STEP = run_spec(step("only"), **PRODUCTION)
ONE_STEP_SUSPENDED = run_spec(step("only"), suspend=True, **PRODUCTION)


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
    assert world.events() == [("Normal", "Completed")]


async def test_a_run_of_one_step_that_succeeds_costs_five_writes(world: RunWorld):
    world.run(ONE_STEP)
    await world.reconcile()
    await world.reconcile()
    pod = world.pod("wine-1-only-1")
    world.put(pod, on_node=False)
    await world.reconcile()
    world.put(pod)
    await world.reconcile()
    world.put(pod.runs("only"))
    await world.reconcile()
    world.put(pod.ends("only"))
    await world.reconcile()
    world.job_ends("wine-1-only-1", "Complete")
    await world.reconcile()

    writes = {asked: count for asked, count in world.kubernetes.requests.items() if asked.split()[0] not in READS}
    assert world.succeeded() == ("True", "Completed")
    assert writes == {WRITE_STATUS: 3, CREATE_JOBS: 1, "create events": 1}


async def test_a_local_run_has_one_job_for_all_steps(world: RunWorld):
    world.run(run_spec(step("a"), step("b", dependsOn=["a"]), stackRef={"name": "one-pod"}))
    await world.reconcile()
    in_turn = world.states()
    world.put(world.pod("wine-1-a-1").ends("a").runs("b"))

    await world.reconcile()

    assert world.jobs() == ["wine-1-a-1"]
    assert (in_turn, world.states()) == ({"a": "Queued", "b": "Pending"}, {"a": "Succeeded", "b": "Running"})


async def test_a_local_run_goes_on_in_another_pod_after_a_failure(world: RunWorld):
    world.run(run_spec(step("a"), step("b"), step("c", dependsOn=["a"]), stackRef={"name": "one-pod"}))
    await world.reconcile()
    world.put(world.pod("wine-1-a-1").ends("a", 1, message="boom"))

    await world.reconcile()

    assert world.states() == {"a": "Failed", "b": "Queued", "c": "Skipped"}
    assert world.jobs() == ["wine-1-a-1", "wine-1-b-1"]


async def test_a_failure_is_recorded_with_the_end_of_the_log(world: RunWorld):
    world.run(WITH_RESULT)
    await world.reconcile()
    pod = world.pod("wine-1-only-1").ends("only", 1, message='{"r": 1}')
    world.put(pod)
    world.kubernetes.logs[pod.body["metadata"]["name"], "only"] = "ValueError: no rows"

    await world.reconcile()

    (only,) = world.status["steps"]
    assert (only["state"], only["logTail"], only["exitCode"]) == ("Failed", "ValueError: no rows", 1)
    assert world.events()[-1] == ("Warning", "StepFailed")


async def test_a_log_that_is_gone_does_not_hold_up_the_run(world: RunWorld):
    world.run(WITH_RESULT)
    await world.reconcile()
    world.put(world.pod("wine-1-only-1").ends("only", 1, message='{"r": 1}'))

    await world.reconcile()

    assert world.succeeded() == ("False", "StepFailed")


async def test_a_log_that_cannot_be_read_now_is_read_later(world: RunWorld):
    world.run(WITH_RESULT)
    await world.reconcile()
    world.put(world.pod("wine-1-only-1").ends("only", 1, message='{"r": 1}'))
    world.kubernetes.objections["log pods"] = lambda _: ApiError(503, "ServiceUnavailable", "the kubelet is away")

    again = await world.reconcile()
    undecided = world.states()
    world.kubernetes.objections.clear()
    world.kubernetes.logs["wine-1-only-1-x7k2p", "only"] = "Traceback"
    await world.reconcile()

    assert again == 10
    assert (undecided, world.states()) == ({"only": "Running"}, {"only": "Failed"})


async def test_a_pod_that_was_not_seen_before_its_job_ended_is_looked_for(world: RunWorld):
    world.run(ONE_STEP)
    await world.reconcile()
    pod = world.pod("wine-1-only-1").ends("only", 3).body
    world.job_ends("wine-1-only-1", "Failed")
    world.see()
    world.kubernetes.add(PODS, pod)

    await world.reconcile_unseeing()

    (ended,) = world.status["steps"]
    assert (ended["reason"], ended["exitCode"]) == ("ExitCode", 3)


async def test_a_suspended_run_starts_nothing(world: RunWorld):
    world.run(ONE_STEP_SUSPENDED)

    await world.reconcile()

    assert (world.jobs(), world.succeeded()) == ([], ("Unknown", "Suspended"))


async def test_a_run_that_is_being_deleted_is_left_alone(world: RunWorld):
    world.apply(PIPELINE_RUNS, run_body(ONE_STEP, deletionTimestamp=NOW, finalizers=["x"]))

    await world.reconcile()

    assert (world.jobs(), world.status) == ([], {})


async def test_a_run_that_is_gone_is_nothing_to_do(world: RunWorld):
    assert await world.reconcile(("ml", "never-there")) is None


async def test_a_run_that_vanishes_while_its_status_is_written_is_forgotten(world: RunWorld):
    key = world.run(ONE_STEP)
    world.kubernetes.remove(PIPELINE_RUNS, *key)

    assert await world.reconcile_unseeing() is None

    assert (len(world.cluster.runs), world.jobs()) == (0, [])


class TestRecordedBeforeItIsDone:
    async def test_an_attempt_is_recorded_before_its_job_is_made(self, world: RunWorld):
        recorded: list[tuple[str, int]] = []
        world.kubernetes.objections[CREATE_JOBS] = lambda _: recorded.extend(
            (item["state"], item["attempts"]) for item in world.status["steps"]
        )
        world.run(ONE_STEP)

        await world.reconcile()

        assert recorded == [("Queued", 1)]

    async def test_no_job_is_made_by_who_does_not_know_the_newest_spec(self, world: RunWorld):
        world.run(ONE_STEP)
        world.change_unseen(ONE_STEP_SUSPENDED)

        with pytest.raises(ConflictError):
            await world.reconcile_unseeing()

        assert (world.jobs(), world.status) == ([], {})

    async def test_an_attempt_that_was_not_made_is_made_after_a_restart_once(self, world: RunWorld):
        await world.die_before_jobs(ONE_STEP)
        before = world.jobs()

        await world.reconcile()
        await world.reconcile()

        assert (before, world.jobs()) == ([], ["wine-1-only-1"])
        assert world.kubernetes.requests[CREATE_JOBS] == 1
        assert world.status["steps"][0]["attempts"] == 1

    async def test_an_attempt_that_was_not_made_is_not_made_when_the_run_has_changed(self, world: RunWorld):
        await world.die_before_jobs(ONE_STEP)
        world.change_unseen(ONE_STEP_SUSPENDED)

        with pytest.raises(ConflictError):
            await world.reconcile_unseeing()

        assert world.jobs() == []

    async def test_an_attempt_that_was_not_made_is_not_made_when_the_run_is_gone(self, world: RunWorld):
        await world.die_before_jobs(ONE_STEP)
        world.kubernetes.remove(PIPELINE_RUNS, *RUN_KEY)

        await world.reconcile_unseeing()

        assert world.jobs() == []

    async def test_all_steps_of_a_local_run_that_was_not_made_share_its_pod_all_the_same(self, world: RunWorld):
        await world.die_before_jobs(run_spec(step("a"), step("b", dependsOn=["a"]), stackRef={"name": "one-pod"}))

        await world.reconcile()

        assert world.jobs() == ["wine-1-a-1"]
        assert world.pod("wine-1-a-1").containers == ["a", "b"]


class TestAnAttemptThatHasNotBeenSeen:
    async def go_on_unseeing(self, world: RunWorld, changed: RunSpec) -> None:
        """Have another operator, whose watch does not tell of the Job yet, see what has become of the spec."""
        world.run(changed)
        world.restart()
        world.cluster.jobs.remove(("ml", "wine-1-only-1"))
        await world.reconcile_unseeing()

    async def test_is_not_taken_back_for_a_suspension_when_its_job_is_there(self, world: RunWorld):
        world.run(ONE_STEP)
        await world.reconcile()

        await self.go_on_unseeing(world, ONE_STEP_SUSPENDED)

        assert world.step() == ("Queued", None)
        assert world.status["steps"][0]["attempts"] == 1

    async def test_is_stopped_with_its_job_when_the_run_is_cancelled(self, world: RunWorld):
        world.run(ONE_STEP)
        await world.reconcile()

        await self.go_on_unseeing(world, ONE_STEP.model_copy(update={"cancel": "Graceful"}))

        assert (world.step(), world.jobs()) == (("Queued", "Cancelled"), [])

    async def test_is_taken_back_once_it_was_asked_for(self, world: RunWorld):
        await world.die_before_jobs(ONE_STEP)
        world.run(ONE_STEP_SUSPENDED)

        await world.reconcile()

        assert (world.step(), world.kubernetes.requests["list jobs"]) == (("Pending", None), 1)

    async def test_is_not_taken_back_when_it_cannot_be_asked_for(self, world: RunWorld):
        await world.die_before_jobs(ONE_STEP)
        world.run(ONE_STEP_SUSPENDED)
        world.kubernetes.objections["list jobs"] = lambda _: ApiError(503, "ServiceUnavailable", "overloaded")

        with pytest.raises(ApiError):
            await world.reconcile()

        assert world.step() == ("Queued", None)


class TestNothingRunsTwice:
    async def test_after_a_restart(self, world: RunWorld):
        world.run(ONE_STEP)
        await world.reconcile()

        world.restart()
        await world.reconcile()

        assert world.kubernetes.requests[CREATE_JOBS] == 1
        assert world.states() == {"only": "Queued"}

    async def test_when_a_job_is_there_that_the_operator_has_not_seen_yet(self, world: RunWorld):
        world.run(ONE_STEP)
        await world.reconcile()
        world.restart()
        world.cluster.jobs.remove(("ml", "wine-1-only-1"))

        await world.reconcile_unseeing()

        assert world.jobs() == ["wine-1-only-1"]
        assert world.states() == {"only": "Queued"}
        assert len(world.cluster.jobs) == 1

    async def test_when_nothing_has_changed(self, world: RunWorld):
        world.run(ONE_STEP)
        await world.reconcile()
        before = world.kubernetes.requests.copy()

        await world.reconcile()
        await world.reconcile()

        assert world.kubernetes.requests == before

    async def test_when_the_run_has_finished(self, world: RunWorld):
        world.run(ONE_STEP)
        await world.reconcile()
        world.put(world.pod("wine-1-only-1").all_end_well())
        await world.reconcile()
        world.kubernetes.remove(JOBS, "ml", "wine-1-only-1")
        before = world.kubernetes.requests.copy()

        await world.reconcile()

        assert world.kubernetes.requests == before
