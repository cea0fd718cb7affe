"""What a plan stops: for a timeout, a failure policy, a cancel."""

from __future__ import annotations

import pytest

from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.observation import Fault, Phase
from cairn.runs.planner import Stop, StopMode
from tests.unit.builders import LATER, NOW, after, run_spec, seen, seen_failed, step, step_status
from tests.unit.runs.planning import planned, reasons, runs, states

RETRIED = {"limit": 1}
ABC = (step("a"), step("b"), step("c"))


def status_of(name: str, state: str = "Running", **fields: object) -> StepStatus:
    return step_status(name, state, **{"attempts": 1, "jobName": f"wine-1-{name}-1", "startTime": NOW, **fields})


class TestHowAttemptsAreStopped:
    SPEC = run_spec(step("a", timeoutSeconds=60, pendingTimeoutSeconds=60))

    def test_what_runs_goes_on_unstopped(self):
        assert planned(self.SPEC, runs("a")).stops == ()

    def test_a_pod_that_a_kubelet_has_is_stopped_gracefully(self):
        attempt = runs("a")

        assert planned(self.SPEC, attempt, now=after(61)).stops == (Stop(attempt, StopMode.GRACEFUL),)

    def test_a_pod_that_is_being_stopped_is_not_told_again(self):
        assert planned(self.SPEC, runs("a", being_stopped=True), now=after(61)).stops == ()

    def test_what_no_kubelet_has_is_deleted(self):
        spec, attempt = run_spec(*ABC[:1], cancel="Graceful"), seen("a", Phase.WAITING)

        assert planned(spec, attempt).stops == (Stop(attempt, StopMode.DELETE),)

    def test_an_attempt_that_has_waited_for_too_long_is_deleted(self):
        attempt = seen("a", Phase.WAITING, reason="ErrImagePull", message="no such image", on_node=True)
        recorded = status_of("a", "Queued", queuedTime=NOW, startTime=None)

        decided = planned(self.SPEC, attempt, recorded=[recorded], now=after(61))

        assert decided.stops == (Stop(attempt, StopMode.DELETE),)
        assert (states(decided), reasons(decided)) == ({"a": "Failed"}, {"a": "ErrImagePull"})

    def test_an_attempt_before_the_latest_one_is_deleted(self):
        old, new = runs("a"), seen("a", Phase.WAITING, number=2)

        decided = planned(self.SPEC, old, new, recorded=[status_of("a", "Queued", attempts=2, queuedTime=NOW)])

        assert decided.stops == (Stop(old, StopMode.DELETE),)

    def test_a_step_whose_turn_comes_after_one_that_was_given_up_is_deleted(self):
        recorded = status_of("a", "Retrying", reason="PendingTimeout", nextAttemptTime=LATER)
        ended, begun = seen("a", Phase.SUCCEEDED), runs("b", job_name="wine-1-a-1")

        decided = planned(run_spec(step("a"), step("b", dependsOn=["a"])), ended, begun, recorded=[recorded])

        assert decided.stops == (Stop(begun, StopMode.DELETE),)
        assert states(decided) == {"a": "Retrying", "b": "Pending"}

    def test_what_came_after_one_that_was_given_up_does_not_count_once_another_attempt_has_succeeded(self):
        recorded = status_of("a", "Succeeded", attempts=2)
        given_up, came_after = seen("a", Phase.SUCCEEDED), seen("b", Phase.SUCCEEDED, job_name="wine-1-a-1")

        decided = planned(run_spec(step("a"), step("b", dependsOn=["a"])), given_up, came_after, recorded=[recorded])

        assert [launch.attempts for launch in decided.launches] == [(("b", 1),)]

    def test_what_has_ended_by_itself_is_not_stopped(self):
        assert planned(self.SPEC, seen("a", Phase.SUCCEEDED), now=after(61)).stops == ()


class TestRunTimeout:
    SPEC = run_spec(*ABC, timeoutSeconds=60)

    def test_it_stops_what_runs_and_starts_nothing_more(self):
        attempt = runs("a")

        decided = planned(self.SPEC, attempt, now=after(61))

        assert (decided.launches, decided.stops) == ((), (Stop(attempt, StopMode.GRACEFUL),))
        assert states(decided) == {"a": "Running", "b": "Cancelled", "c": "Cancelled"}
        assert set(reasons(decided).values()) == {"RunTimedOut"}
        assert decided.outcome.reason == "Stopping"

    def test_the_run_has_timed_out_when_its_steps_have_ended(self):
        first = planned(self.SPEC, runs("a"), now=after(61))

        decided = planned(self.SPEC, seen_failed("a", Fault.STOPPED), recorded=first.steps, now=after(62))

        assert (decided.outcome.reason, states(decided)["a"]) == ("TimedOut", "Cancelled")

    def test_it_stays_the_reason_though_the_clock_is_set_back(self):
        first = planned(self.SPEC, runs("a"), now=after(61))

        decided = planned(self.SPEC, seen_failed("a", Fault.STOPPED), recorded=first.steps, now=after(-3600))

        assert (decided.outcome.reason, states(decided)["a"]) == ("TimedOut", "Cancelled")
        assert decided.launches == ()

    def test_steps_that_have_all_succeeded_by_then_are_a_success(self):
        ended = [seen(name, Phase.SUCCEEDED) for name in "abc"]

        assert planned(self.SPEC, *ended, now=after(61)).outcome.reason == "Completed"


class TestContinueOnFailure:
    def test_independent_steps_go_on(self):
        spec = run_spec(*ABC)

        decided = planned(spec, seen_failed("a", Fault.STEP), runs("b"))

        assert states(decided) == {"a": "Failed", "b": "Running", "c": "Queued"}
        assert decided.stops == ()

    def test_several_failures_at_once(self):
        decided = planned(run_spec(*ABC), seen_failed("a", Fault.STEP), seen_failed("b", Fault.STEP), runs("c"))

        assert states(decided) == {"a": "Failed", "b": "Failed", "c": "Running"}

    def test_another_one_is_tried_again(self):
        spec = run_spec(step("a"), step("b", retry=RETRIED))

        decided = planned(spec, seen_failed("a", Fault.STEP), seen_failed("b", Fault.STEP))

        assert states(decided) == {"a": "Failed", "b": "Retrying"}


class TestStopOnFailure:
    SPEC = run_spec(*ABC, step("d", dependsOn=["a"]), failurePolicy="StopOnFailure")

    def test_what_runs_may_finish_and_nothing_more_starts(self):
        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), runs("b"))

        assert (decided.launches, decided.stops) == ((), ())
        assert states(decided) == {"a": "Failed", "b": "Running", "c": "Skipped", "d": "Skipped"}
        assert (reasons(decided)["b"], reasons(decided)["c"]) == (None, "FailurePolicy")
        assert decided.outcome.reason == "Stopping"

    def test_the_run_has_failed_with_the_step_s_cause(self):
        first = planned(self.SPEC, seen_failed("a", Fault.STEP), runs("b"))

        decided = planned(self.SPEC, seen("b", Phase.SUCCEEDED), recorded=first.steps)

        assert (states(decided)["b"], decided.outcome.reason) == ("Succeeded", "StepFailed")
        assert decided.outcome.message == "Step a failed: ExitCode: No."

    def test_several_failures_at_once_have_all_failed(self):
        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), seen_failed("b", Fault.STEP), runs("c"))

        assert states(decided) == {"a": "Failed", "b": "Failed", "c": "Running", "d": "Skipped"}
        assert (reasons(decided)["a"], reasons(decided)["b"]) == ("ExitCode", "ExitCode")

    @pytest.mark.parametrize("fault", [Fault.STEP, Fault.DISRUPTION])
    def test_what_ends_at_the_same_time_is_not_tried_again(self, fault: Fault):
        spec = run_spec(step("a"), step("b", retry=RETRIED), failurePolicy="StopOnFailure")

        decided = planned(spec, seen_failed("a", Fault.STEP), seen_failed("b", fault))

        assert states(decided) == {"a": "Failed", "b": "Failed"}
        assert (decided.steps[1].retries_used, decided.steps[1].disruptions) == (0, 0)

    def test_what_was_to_be_tried_again_has_failed(self):
        waits = status_of("b", "Retrying", retriesUsed=1, reason="OOMKilled", nextAttemptTime=LATER)

        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), recorded=[waits])

        assert (states(decided)["b"], reasons(decided)["b"]) == ("Failed", "OOMKilled")

    def test_a_failure_that_is_tried_again_stops_nothing(self):
        spec = run_spec(step("a", retry=RETRIED), step("b"), failurePolicy="StopOnFailure")

        decided = planned(spec, seen_failed("a", Fault.STEP))

        assert states(decided) == {"a": "Retrying", "b": "Queued"}


class TestFailFast:
    SPEC = run_spec(*ABC, failurePolicy="FailFast")

    def test_what_runs_is_stopped_at_once(self):
        attempt = runs("b")

        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), attempt)

        assert decided.stops == (Stop(attempt, StopMode.GRACEFUL),)
        assert states(decided) == {"a": "Failed", "b": "Running", "c": "Skipped"}
        assert reasons(decided) == {"a": "ExitCode", "b": "FailurePolicy", "c": "FailurePolicy"}

    def test_what_was_stopped_is_cancelled_and_the_run_has_failed(self):
        first = planned(self.SPEC, seen_failed("a", Fault.STEP), runs("b"))

        decided = planned(self.SPEC, seen_failed("b", Fault.STOPPED), recorded=first.steps)

        assert states(decided) == {"a": "Failed", "b": "Cancelled", "c": "Skipped"}
        assert decided.outcome.message == "Step a failed: ExitCode: No."

    @pytest.mark.parametrize("fault", [Fault.DISRUPTION, Fault.STOPPED])
    def test_the_step_that_failed_is_not_itself_cancelled(self, fault: Fault):
        spec = run_spec(step("a", retry={"disruptionLimit": 0}), step("b"), failurePolicy="FailFast")

        decided = planned(spec, seen_failed("a", fault), runs("b"))

        assert states(decided) == {"a": "Failed", "b": "Running"}

    def test_a_step_that_ran_for_too_long_has_failed_and_stops_the_others(self):
        spec = run_spec(step("a", timeoutSeconds=60), step("b"), failurePolicy="FailFast")
        being_stopped = status_of("a", reason="DeadlineExceeded")

        decided = planned(spec, seen_failed("a", Fault.STOPPED), runs("b"), recorded=[being_stopped])

        assert reasons(decided) == {"a": "DeadlineExceeded", "b": "FailurePolicy"}
        assert states(decided) == {"a": "Failed", "b": "Running"}

    def test_a_step_that_could_not_start_has_failed_and_stops_the_others(self):
        spec = run_spec(step("a", pendingTimeoutSeconds=60), step("b"), failurePolicy="FailFast")
        waits = seen("a", Phase.WAITING, reason="ErrImagePull", message="no such image")
        recorded = [status_of("a", "Queued", queuedTime=NOW, startTime=None)]

        decided = planned(spec, waits, runs("b"), recorded=recorded, now=after(61))

        assert states(decided) == {"a": "Failed", "b": "Running"}
        assert [(stop.attempt.step, stop.mode) for stop in decided.stops] == [
            ("a", StopMode.DELETE),
            ("b", StopMode.GRACEFUL),
        ]

    def test_several_failures_at_once_have_all_failed(self):
        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), seen_failed("b", Fault.STEP), runs("c"))

        assert reasons(decided) == {"a": "ExitCode", "b": "ExitCode", "c": "FailurePolicy"}
        assert states(decided) == {"a": "Failed", "b": "Failed", "c": "Running"}

    def test_what_is_disrupted_at_the_same_time_is_cancelled(self):
        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), seen_failed("b", Fault.DISRUPTION))

        assert states(decided) == {"a": "Failed", "b": "Cancelled", "c": "Skipped"}

    def test_what_succeeds_at_the_same_time_has_succeeded(self):
        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), seen("b", Phase.SUCCEEDED))

        assert states(decided)["b"] == "Succeeded"

    def test_a_later_failure_changes_nothing_of_what_was_decided(self):
        first = planned(self.SPEC, seen_failed("b", Fault.STEP), runs("a"))

        decided = planned(self.SPEC, seen_failed("a", Fault.STEP), recorded=first.steps)

        assert states(decided) == {"a": "Failed", "b": "Failed", "c": "Skipped"}
        assert decided.steps[1:] == first.steps[1:]


class TestCancel:
    GRACEFUL = run_spec(*ABC, cancel="Graceful")
    IMMEDIATE = run_spec(*ABC, cancel="Immediate")

    def test_graceful_stops_what_runs_and_waits_for_it(self):
        attempt = runs("a")

        decided = planned(self.GRACEFUL, attempt, recorded=[status_of("a")])

        assert (decided.launches, decided.stops) == ((), (Stop(attempt, StopMode.GRACEFUL),))
        assert states(decided) == {"a": "Running", "b": "Cancelled", "c": "Cancelled"}
        assert decided.outcome.reason == "Stopping"

    def test_graceful_keeps_what_was_published_in_time(self):
        first = planned(self.GRACEFUL, runs("a"))

        decided = planned(self.GRACEFUL, seen("a", Phase.SUCCEEDED), recorded=first.steps)

        assert states(decided)["a"] == "Succeeded"
        assert decided.outcome.message == "The run was cancelled. 1 of 3 steps had succeeded."

    def test_graceful_has_ended_when_its_steps_have(self):
        first = planned(self.GRACEFUL, runs("a"))

        decided = planned(self.GRACEFUL, seen_failed("a", Fault.STOPPED), recorded=first.steps)

        assert (decided.outcome.reason, states(decided)["a"]) == ("Cancelled", "Cancelled")

    def test_immediate_has_ended_at_once(self):
        attempt = runs("a")

        decided = planned(self.IMMEDIATE, attempt, recorded=[status_of("a")])

        assert decided.stops == (Stop(attempt, StopMode.IMMEDIATE),)
        assert set(states(decided).values()) == {"Cancelled"}
        assert (decided.outcome.reason, decided.outcome.finished) == ("Cancelled", True)

    def test_immediate_after_graceful_waits_no_more(self):
        first = planned(self.GRACEFUL, runs("a"))
        attempt = runs("a", being_stopped=True)

        decided = planned(self.IMMEDIATE, attempt, recorded=first.steps)

        assert decided.stops == (Stop(attempt, StopMode.IMMEDIATE),)
        assert (decided.outcome.finished, states(decided)["a"]) == (True, "Cancelled")

    @pytest.mark.parametrize("cancel", ["Graceful", "Immediate"])
    def test_a_run_of_which_nothing_runs_has_ended_at_once(self, cancel: str):
        waits = status_of("a", "Retrying", disruptions=1, reason="Evicted", nextAttemptTime=LATER)

        decided = planned(run_spec(*ABC, cancel=cancel), recorded=[waits])

        assert set(states(decided).values()) == {"Cancelled"}
        assert (decided.outcome.reason, decided.launches) == ("Cancelled", ())

    @pytest.mark.parametrize("cancel", ["Graceful", "Immediate"])
    def test_a_suspended_run_can_be_cancelled(self, cancel: str):
        assert planned(run_spec(*ABC, suspend=True, cancel=cancel)).outcome.reason == "Cancelled"

    def test_a_cancelled_run_is_never_completed_though_it_takes_too_long_then(self):
        spec = run_spec(step("a"), timeoutSeconds=60, cancel="Graceful")
        first = planned(spec, runs("a"), now=after(50))

        decided = planned(spec, seen("a", Phase.SUCCEEDED), recorded=first.steps, now=after(70))

        assert (decided.outcome.status, decided.outcome.reason) == ("False", "Cancelled")
