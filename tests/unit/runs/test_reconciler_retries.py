"""Attempts that do not succeed, and those that follow on them."""

from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import JOBS, PODS, ApiError
from tests.unit.builders import run_spec, step
from tests.unit.runs.run_world import CREATE_JOBS, PRODUCTION, RunWorld

FIRST, SECOND = "wine-1-only-1", "wine-1-only-2"
ONE_STEP = run_spec(step("only"), **PRODUCTION)
RETRIED = run_spec(step("only", retry={"limit": 1, "backoffSeconds": 30}), **PRODUCTION)
IN_A_YEAR = "2027-01-01T00:00:00Z"
BACKOFF = 31
"""Times are written to the second, so that a second more has to pass."""


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


def only(world: RunWorld) -> JsonObject:
    (status,) = world.status["steps"]
    return status


async def fail(world: RunWorld, job: str = FIRST) -> float | None:
    world.put(world.pod(job).ends("only", 3))
    return await world.reconcile()


async def lose_job(world: RunWorld) -> float | None:
    """Have somebody delete the Job; the garbage collector takes its pod."""
    world.kubernetes.remove(JOBS, "ml", FIRST)
    for pod in world.pods():
        world.kubernetes.remove(PODS, "ml", pod)
    return await world.reconcile()


class TestBackoff:
    async def test_a_failed_attempt_is_retried_after_its_backoff(self, world: RunWorld):
        await world.under_way(RETRIED)
        again = await fail(world)
        world.clock.advance(BACKOFF)

        await world.reconcile()

        assert again == BACKOFF
        assert world.jobs() == [FIRST, SECOND]
        assert (only(world)["state"], only(world)["attempts"], only(world)["retriesUsed"]) == ("Queued", 2, 1)

    async def test_no_attempt_is_made_before(self, world: RunWorld):
        await world.under_way(RETRIED)
        await fail(world)
        world.clock.advance(BACKOFF - 2)

        again = await world.reconcile()

        assert again == 2
        assert (world.jobs(), only(world)["state"]) == ([FIRST], "Retrying")

    async def test_what_became_of_the_earlier_attempt_is_kept(self, world: RunWorld):
        await world.under_way(RETRIED)
        await fail(world)
        world.clock.advance(BACKOFF)

        await world.reconcile()

        (earlier,) = only(world)["previousAttempts"]
        assert (earlier["number"], earlier["reason"], earlier["exitCode"]) == (1, "ExitCode", 3)
        assert (earlier["charged"], earlier["jobName"]) == (True, FIRST)

    async def test_a_long_backoff_is_looked_at_from_time_to_time_since_the_clock_may_be_set(self, world: RunWorld):
        retry = {"limit": 1, "backoffSeconds": 3600, "maxBackoffSeconds": 3600}
        await world.under_way(run_spec(step("only", retry=retry), **PRODUCTION))

        assert await fail(world) == 300

    async def test_a_step_whose_retries_are_used_has_failed(self, world: RunWorld):
        await world.under_way(RETRIED)
        await fail(world)
        world.clock.advance(BACKOFF)
        await world.reconcile()

        again = await fail(world, SECOND)

        assert (world.succeeded(), again) == (("False", "StepFailed"), None)

    async def test_a_retry_survives_a_restart(self, world: RunWorld):
        await world.under_way(RETRIED)
        await fail(world)
        world.restart()
        world.clock.advance(BACKOFF)

        await world.reconcile()
        await world.reconcile()

        assert world.jobs() == [FIRST, SECOND]
        assert world.kubernetes.requests[CREATE_JOBS] == 2

    async def test_no_retry_starts_while_the_run_is_suspended(self, world: RunWorld):
        await world.under_way(RETRIED)
        await fail(world)
        world.run(RETRIED.model_copy(update={"suspend": True}))
        world.clock.advance(BACKOFF)

        again = await world.reconcile()

        assert (world.jobs(), again) == ([FIRST], None)
        assert world.succeeded() == ("Unknown", "Suspended")


class TestDisruptions:
    async def test_a_deleted_job_leads_to_another_attempt_that_is_not_charged(self, world: RunWorld):
        await world.under_way(ONE_STEP)
        again = await lose_job(world)
        assert again is not None
        world.clock.advance(again)

        await world.reconcile()

        (earlier,) = only(world)["previousAttempts"]
        assert world.jobs() == [SECOND]
        assert (earlier["reason"], earlier["charged"]) == ("JobDeleted", False)
        assert (only(world)["retriesUsed"], only(world)["disruptions"]) == (0, 1)

    async def test_a_job_that_the_watch_does_not_tell_of_is_asked_for_before_it_counts_as_deleted(
        self, world: RunWorld
    ):
        await world.under_way(ONE_STEP)
        world.cluster.jobs.remove(("ml", FIRST))

        await world.reconcile_unseeing()

        assert world.kubernetes.requests["get jobs"] == 1
        assert only(world)["state"] == "Running"

    async def test_a_job_that_cannot_be_asked_for_does_not_count_as_deleted(self, world: RunWorld):
        await world.under_way(ONE_STEP)
        world.cluster.jobs.remove(("ml", FIRST))
        world.kubernetes.objections["get jobs"] = lambda _: ApiError(503, "ServiceUnavailable", "overloaded")

        with pytest.raises(ApiError):
            await world.reconcile_unseeing()

        assert only(world)["state"] == "Running"

    async def test_another_run_s_job_of_that_name_is_not_this_one_s(self, world: RunWorld):
        await world.under_way(ONE_STEP)
        world.kubernetes.remove(JOBS, "ml", FIRST)
        world.kubernetes.add(JOBS, {"metadata": {"namespace": "ml", "name": FIRST}, "spec": {}})

        await world.reconcile()

        assert (only(world)["state"], only(world)["reason"]) == ("Retrying", "JobDeleted")

    async def test_a_pod_that_was_seen_to_be_deleted_ended_the_step_whatever_is_recorded_since(self, world: RunWorld):
        await world.under_way(run_spec(step("only", timeoutSeconds=60), **PRODUCTION))
        world.put(world.pod(FIRST).runs("only").is_being_deleted())
        await world.reconcile()
        world.clock.advance(62)
        await world.reconcile()

        world.put(world.pod(FIRST).ends("only").was_deleted_again(IN_A_YEAR))
        await world.reconcile()

        assert (only(world)["state"], only(world)["reason"]) == ("Failed", "DeadlineExceeded")

    @pytest.mark.parametrize("code", [0, 1])
    async def test_another_operator_knows_from_the_status_that_a_pod_was_being_deleted(
        self, world: RunWorld, code: int
    ):
        await world.under_way(ONE_STEP)
        world.put(world.pod(FIRST).runs("only").is_being_deleted())
        await world.reconcile()
        world.restart()

        world.put(world.pod(FIRST).ends("only", code).was_deleted_again(IN_A_YEAR))
        await world.reconcile()

        assert (only(world)["state"], only(world)["reason"]) == ("Retrying", "PodDeleted")

    async def test_the_pod_of_several_steps_is_told_apart_from_its_job(self, world: RunWorld):
        chain = run_spec(step("load"), step("train", dependsOn=["load"]), stackRef={"name": "one-pod"})
        await world.under_way(chain)
        world.put(world.pod("wine-1-load-1").ends("load").runs("train"))
        await world.reconcile()
        world.kubernetes.remove(PODS, "ml", "wine-1-load-1-x7k2p")
        world.job_ends("wine-1-load-1", "Failed")

        await world.reconcile()

        assert world.step("train") == ("Retrying", "PodDeleted")

    async def test_a_job_whose_labels_somebody_takes_off_gets_them_again(self, world: RunWorld):
        await world.under_way(ONE_STEP)
        there = world.kubernetes.one(JOBS, FIRST)
        world.kubernetes.add(JOBS, {**there, "metadata": {**there["metadata"], "labels": {"own": "1"}}})
        world.see()
        world.cluster.jobs.remove(("ml", FIRST))  # the watch tells of it as of one that is gone

        await world.reconcile_unseeing()

        labels = world.kubernetes.one(JOBS, FIRST)["metadata"]["labels"]
        assert labels == {**there["metadata"]["labels"], "own": "1"}
        assert (world.step(), world.jobs()) == (("Running", None), [FIRST])

    async def test_one_that_does_not_tell_what_it_runs_any_more_is_deleted_before_the_step_is_made_again(
        self, world: RunWorld
    ):
        await world.under_way(ONE_STEP)
        there = world.kubernetes.one(JOBS, FIRST)
        world.kubernetes.add(JOBS, {**there, "metadata": {**there["metadata"], "labels": {}, "annotations": {}}})
        world.see()
        world.cluster.jobs.remove(("ml", FIRST))

        await world.reconcile_unseeing()

        assert (world.step(), FIRST in world.jobs()) == (("Retrying", "JobDeleted"), False)

    async def test_an_eviction_is_not_charged(self, world: RunWorld):
        await world.under_way(ONE_STEP)
        world.put(world.pod(FIRST).is_over("Evicted", "The node was low on resource: memory."))

        await world.reconcile()

        assert (only(world)["state"], only(world)["reason"]) == ("Retrying", "Evicted")
        assert (only(world)["retriesUsed"], only(world)["disruptions"]) == (0, 1)

    async def test_a_step_that_is_disrupted_too_often_has_failed(self, world: RunWorld):
        await world.under_way(run_spec(step("only", retry={"disruptionLimit": 0}), **PRODUCTION))

        await lose_job(world)

        assert world.succeeded() == ("False", "StepFailed")
