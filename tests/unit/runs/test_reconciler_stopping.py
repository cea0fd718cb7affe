"""Runs and steps that are stopped for their time, or for another step's failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.clients.kubernetes import PIPELINE_RUNS, ForbiddenError
from tests.unit.builders import RUN, outputs, run_spec, step
from tests.unit.runs.run_world import CREATE_JOBS, PRODUCTION, RunWorld

FIRST, POD = "wine-1-only-1", "wine-1-only-1-x7k2p"
LIMIT = 61
"""When a limit of 60 s is over: times are written to the second, so that a second more has to pass."""


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


def spec(only: JsonObject | None = None, **fields: Any) -> RunSpec:
    return run_spec(step("only", **only or {}), **PRODUCTION, **fields)


def two_steps(policy: str) -> RunSpec:
    steps = step("bad"), step("good"), step("later", dependsOn=["good"])
    return run_spec(*steps, failurePolicy=policy, **PRODUCTION)


class TestEndThatIsNotToldYet:
    """The kubelet has said that the pod has ended, and not how its containers did."""

    WRITES = {"outputs": outputs("model"), "podTemplate": {"terminationGracePeriodSeconds": 5}}
    WAITED_FOR = 5 + 30

    async def ends_untold(self, world: RunWorld) -> float | None:
        """Have a step's pod, never ready since the step is not its main container, end long after it began."""
        await world.under_way(spec(self.WRITES))
        world.clock.advance(3600)
        world.put(world.pod(FIRST).runs("only").is_over("DeadlineExceeded"))
        return await world.reconcile()

    async def test_it_is_waited_for_from_when_it_was_seen(self, world: RunWorld):
        again = await self.ends_untold(world)

        assert (again, world.step()) == (self.WAITED_FOR, ("Running", None))

    async def test_it_counts_once_it_is_told(self, world: RunWorld):
        await self.ends_untold(world)
        world.clock.advance(self.WAITED_FOR - 1)
        world.put(world.pod(FIRST).runs("only").ends("only", 137).is_over("DeadlineExceeded"))

        await world.reconcile()

        assert world.step_status("only")["exitCode"] == 137

    async def test_it_is_not_waited_for_for_ever(self, world: RunWorld):
        await self.ends_untold(world)
        world.clock.advance(self.WAITED_FOR)

        await world.reconcile()

        assert world.step() == ("Failed", "DeadlineExceeded")


class TestTimeouts:
    async def test_a_run_that_takes_too_long_is_stopped(self, world: RunWorld):
        again = await world.under_way(spec(timeoutSeconds=60))
        world.clock.advance(LIMIT)

        await world.reconcile()

        assert again == LIMIT
        assert (world.stopped_pods(), world.step()) == ([POD], ("Running", "RunTimedOut"))

    async def test_a_run_that_was_stopped_for_its_time_says_so(self, world: RunWorld):
        await world.under_way(spec(timeoutSeconds=60))
        world.clock.advance(LIMIT)
        await world.reconcile()
        world.restart()
        world.kubelet_stops(FIRST)

        await world.reconcile()

        assert world.succeeded() == ("False", "TimedOut")
        assert world.step() == ("Cancelled", "RunTimedOut")

    async def test_an_attempt_that_takes_too_long_is_stopped(self, world: RunWorld):
        again = await world.under_way(spec({"timeoutSeconds": 60}))
        world.clock.advance(LIMIT)

        await world.reconcile()

        assert again == LIMIT
        assert (world.stopped_pods(), world.step()) == ([POD], ("Running", "DeadlineExceeded"))

    async def test_an_attempt_in_time_is_not_stopped(self, world: RunWorld):
        await world.under_way(spec({"timeoutSeconds": 60}))
        world.clock.advance(LIMIT - 1)

        again = await world.reconcile()

        assert (world.stopped_pods(), again) == ([], 1)

    async def test_an_attempt_that_was_stopped_for_its_time_has_failed(self, world: RunWorld):
        await world.under_way(spec({"timeoutSeconds": 60}))
        world.clock.advance(LIMIT)
        await world.reconcile()
        world.restart()
        world.kubelet_stops(FIRST)

        await world.reconcile()

        assert world.succeeded() == ("False", "StepFailed")
        assert world.step() == ("Failed", "DeadlineExceeded")

    async def test_an_attempt_that_was_stopped_for_its_time_is_charged_and_retried(self, world: RunWorld):
        await world.under_way(spec({"timeoutSeconds": 60, "retry": {"limit": 1}}))
        world.clock.advance(LIMIT)
        await world.reconcile()
        world.kubelet_stops(FIRST)

        await world.reconcile()

        assert world.step() == ("Retrying", "DeadlineExceeded")
        assert world.status["steps"][0]["retriesUsed"] == 1

    async def test_the_other_steps_of_a_local_run_go_on_in_another_pod(self, world: RunWorld):
        steps = step("slow", timeoutSeconds=60), step("then")
        await world.under_way(run_spec(*steps, stackRef={"name": "one-pod"}))
        world.clock.advance(LIMIT)
        await world.reconcile()
        world.kubelet_stops("wine-1-slow-1")

        await world.reconcile()

        assert world.states() == {"slow": "Failed", "then": "Queued"}
        assert world.jobs() == ["wine-1-slow-1", "wine-1-then-1"]

    async def test_an_attempt_that_cannot_start_in_time_has_failed_and_its_job_goes(self, world: RunWorld):
        world.run(spec({"pendingTimeoutSeconds": 60}))
        again = await world.reconcile()
        world.put(world.pod(FIRST).unschedulable("0/3 nodes are available"), on_node=False)
        world.clock.advance(LIMIT)

        await world.reconcile()

        assert again == LIMIT
        assert (world.step(), world.jobs()) == (("Failed", "Unschedulable"), [])

    async def test_a_job_that_is_refused_for_too_long_is_not_made_any_more(self, world: RunWorld):
        world.kubernetes.objections[CREATE_JOBS] = lambda _: ForbiddenError(403, "Forbidden", "exceeded quota")
        world.run(spec({"pendingTimeoutSeconds": 60}))
        await world.reconcile()
        world.kubernetes.objections.clear()
        world.clock.advance(LIMIT)

        await world.reconcile()

        assert (world.step(), world.jobs()) == (("Failed", "Forbidden"), [])

    async def test_an_attempt_that_is_not_made_while_the_run_is_suspended_does_not_run_out_of_time(
        self, world: RunWorld
    ):
        await world.die_before_jobs(spec({"pendingTimeoutSeconds": 60}))
        world.run(spec({"pendingTimeoutSeconds": 60}, suspend=True))
        world.clock.advance(LIMIT)

        await world.reconcile()

        assert world.step() == ("Pending", None)


class TestFailurePolicy:
    async def fail(self, world: RunWorld, policy: str) -> None:
        await world.under_way(two_steps(policy))
        world.put(world.pod("wine-1-bad-1").ends("bad", 1))
        await world.reconcile()

    @pytest.mark.parametrize(
        ("policy", "stopped"),
        [("ContinueOnFailure", []), ("StopOnFailure", []), ("FailFast", ["wine-1-good-1-x7k2p"])],
    )
    async def test_only_fail_fast_stops_what_runs(self, world: RunWorld, policy: str, stopped: Sequence[str]):
        await self.fail(world, policy)

        assert world.stopped_pods() == stopped
        assert world.states()["good"] == "Running"

    @pytest.mark.parametrize(
        ("policy", "later"), [("ContinueOnFailure", "Queued"), ("StopOnFailure", "Skipped"), ("FailFast", "Skipped")]
    )
    async def test_only_continue_on_failure_starts_anything_more(self, world: RunWorld, policy: str, later: str):
        await self.fail(world, policy)
        world.put(world.pod("wine-1-good-1").ends("good"))

        await world.reconcile()

        assert world.states() == {"bad": "Failed", "good": "Succeeded", "later": later}

    async def test_a_step_that_fail_fast_has_stopped_is_cancelled_and_the_run_says_which_failed(self, world: RunWorld):
        await self.fail(world, "FailFast")
        world.kubelet_stops("wine-1-good-1")

        await world.reconcile()

        assert world.step("good") == ("Cancelled", "FailurePolicy")
        assert world.succeeded() == ("False", "StepFailed")
        assert "Step bad failed" in world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]
