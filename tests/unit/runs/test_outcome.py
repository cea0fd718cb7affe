from __future__ import annotations

import pytest

from cairn.api.conditions import ConditionStatus
from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.outcome import Outcome, outcome_of, progress_of
from cairn.runs.stopping import Halt
from tests.unit.builders import LATER, NOW, run_spec, states, step, step_status

CANCELLED = Halt("Cancelled", "The run was cancelled.")
TIMED_OUT = Halt("RunTimedOut", "The run has taken longer than its timeoutSeconds (60).")
FAIL_FAST = Halt("FailurePolicy", "Step load failed, and the run's failurePolicy is FailFast.")
FAILED = step_status("load", "Failed", attempts=1, reason="OOMKilled", message="Too much.")


def outcome(*steps: StepStatus, halt: Halt | None = None, held: str = "", **fields: object) -> Outcome:
    return outcome_of(run_spec(*(step(one.name) for one in steps), **fields), steps, halt, held)


def of_states(halt: Halt | None = None, held: str = "", suspend: bool = False, **by_step: str) -> Outcome:
    return outcome(*states(**by_step).values(), halt=halt, held=held, suspend=suspend)


class TestEnd:
    def test_completed(self):
        end = of_states(load="Succeeded")

        assert end == Outcome("True", "Completed", "The step succeeded.")
        assert end.finished

    def test_completed_with_the_number_of_steps(self):
        assert of_states(load="Succeeded", train="Succeeded").message == "All 2 steps succeeded."

    def test_failed_with_the_first_failure_s_cause(self):
        end = outcome(FAILED, step_status("train", "Skipped"))

        assert end == Outcome("False", "StepFailed", "Step load failed: OOMKilled: Too much.")
        assert end.finished

    @pytest.mark.parametrize(("others", "told"), [(1, "1 other step"), (2, "2 other steps")])
    def test_failed_with_the_number_of_other_failures(self, others: int, told: str):
        steps = [step_status(f"s{index}", "Failed", reason="ExitCode", message="No.") for index in range(others + 1)]

        assert outcome(*steps).message == f"Step s0 failed: ExitCode: No. {told} failed too."

    def test_a_run_that_its_failure_policy_stopped_has_failed_with_the_step_s_cause(self):
        stopped = step_status("train", "Cancelled", attempts=1, reason="FailurePolicy", message="Stopped.")

        end = outcome(FAILED, stopped, halt=FAIL_FAST)

        assert end == Outcome("False", "StepFailed", "Step load failed: OOMKilled: Too much.")

    def test_cancelled_with_what_had_succeeded(self):
        end = outcome(step_status("load", "Succeeded"), step_status("train", "Cancelled"), cancel="Graceful")

        assert end == Outcome("False", "Cancelled", "The run was cancelled. 1 of 2 steps had succeeded.")

    def test_a_run_that_was_cancelled_after_a_failure_was_cancelled(self):
        assert outcome(FAILED, step_status("train", "Cancelled"), cancel="Graceful").reason == "Cancelled"

    def test_the_step_that_failed_first_is_named(self):
        late, soon = (
            step_status(name, "Failed", attempts=1, reason="ExitCode", message="It is wrong.", completionTime=time)
            for name, time in (("load", LATER), ("train", NOW))
        )

        assert outcome(late, soon).message.startswith("Step train failed: ExitCode: It is wrong.")

    def test_steps_that_did_not_run_are_told_apart(self):
        cached = step_status("load", "Cached", reason="Cached")
        taken_over = step_status("train", "Succeeded", reason="TakenOver")

        end = outcome(cached, taken_over, step_status("report", "Succeeded"))

        assert end.message == "All 3 steps succeeded, 1 was cached, 1 was taken over."

    def test_a_run_that_was_cancelled_is_never_completed(self):
        assert outcome(step_status("load", "Succeeded"), cancel="Graceful").reason == "Cancelled"

    def test_timed_out_with_what_had_succeeded(self):
        stopped = step_status("train", "Cancelled", attempts=1, reason="RunTimedOut")

        end = outcome(step_status("load", "Succeeded"), stopped, timeoutSeconds=60)

        assert (end.status, end.reason) == ("False", "TimedOut")
        assert end.message.endswith("timeoutSeconds (60). 1 of 2 steps had succeeded.")

    def test_a_run_whose_steps_have_all_succeeded_by_its_deadline_is_completed(self):
        end = outcome(step_status("load", "Succeeded"), halt=TIMED_OUT, timeoutSeconds=60)

        assert end.reason == "Completed"

    def test_a_run_that_timed_out_and_was_cancelled_then_has_timed_out(self):
        stopped = step_status("train", "Cancelled", attempts=1, reason="RunTimedOut")

        assert outcome(stopped, timeoutSeconds=60, cancel="Immediate").reason == "TimedOut"

    def test_a_cause_of_any_length_fits(self):
        long = step_status("load", "Failed", reason="ExitCode").model_copy(update={"message": "x" * 5000})

        assert len(outcome(long).message) == 4096


class TestWhatHolds:
    def test_suspended_once_nothing_runs(self):
        assert of_states(load="Pending", suspend=True).reason == "Suspended"

    def test_what_runs_goes_on_while_a_run_is_suspended(self):
        assert of_states(load="Running", suspend=True).reason == "Running"

    def test_a_stack_that_cannot_be_used(self):
        held = of_states(load="Pending", held="Stack ml/x is not Ready.")

        assert held == Outcome("Unknown", "StackNotReady", "Stack ml/x is not Ready.")

    def test_what_runs_goes_on_while_the_stack_is_broken(self):
        assert of_states(load="Running", held="Stack ml/x is not Ready.").reason == "Running"

    def test_a_run_may_end_on_a_broken_stack(self):
        assert of_states(load="Succeeded", held="Stack ml/x is gone.").reason == "Completed"


class TestStopping:
    @pytest.mark.parametrize("halt", [CANCELLED, TIMED_OUT, FAIL_FAST])
    def test_it_tells_why_and_what_is_waited_for(self, halt: Halt):
        stopping = of_states(load="Succeeded", train="Running", report="Queued", halt=halt)

        assert stopping == Outcome("Unknown", "Stopping", f"{halt.message} Still to end: train, report.")
        assert not stopping.finished

    def test_it_comes_before_what_holds(self):
        assert of_states(train="Running", halt=CANCELLED, held="No stack.", suspend=True).reason == "Stopping"


class TestUnderWay:
    def test_a_step_whose_outputs_cannot_be_kept_yet_is_waited_for(self):
        step = step_status("load", "Running", attempts=1, reason="CreateContainerConfigError", message="no Secret")

        assert outcome(step) == Outcome(
            "Unknown",
            "Pending",
            "The outputs of step load are not available yet: CreateContainerConfigError: no Secret",
        )

    @pytest.mark.parametrize("reason", ["PodDeleted", "DeadlineExceeded"])
    def test_one_that_is_being_stopped_is_under_way(self, reason: str):
        assert outcome(step_status("load", "Running", attempts=1, reason=reason)).reason == "Running"

    def test_running(self):
        running = of_states(load="Running", train="Pending")

        assert running == Outcome("Unknown", "Running", "Steps under way: load.")
        assert not running.finished

    def test_running_many(self):
        running = outcome(*(step_status(f"s{index}", "Running") for index in range(7)))

        assert running.message == "Steps under way: s0, s1, s2, s3, s4 and 2 more."

    def test_about_to_start(self):
        assert of_states(load="Pending").message == "The next steps are about to start."

    def test_going_on_after_a_failure(self):
        going_on = outcome(FAILED, step_status("free", "Running"))

        assert going_on == Outcome("Unknown", "Running", "Step load failed: OOMKilled; independent steps go on.")

    def test_pending_while_nothing_runs_and_something_waits(self):
        waits = step_status("load", "Queued", attempts=1, reason="ErrImagePull", message="no such image")

        assert outcome(waits) == Outcome("Unknown", "Pending", "Step load waits: ErrImagePull: no such image")

    def test_running_while_something_else_waits(self):
        waits = step_status("load", "Queued", attempts=1, reason="ErrImagePull", message="no such image")

        beside = outcome(waits, step_status("free", "Running"))

        assert beside == Outcome("Unknown", "Running", "Step load waits: ErrImagePull: no such image")

    def test_running_while_a_step_is_to_be_tried_again(self):
        retrying = step_status("load", "Retrying", reason="ExitCode", message="No.", nextAttemptTime=LATER)

        assert outcome(retrying) == Outcome("Unknown", "Running", f"Step load is tried again at {LATER}: ExitCode: No.")


@pytest.mark.parametrize(
    ("status", "reason", "progress"),
    [
        ("Unknown", "Running", "Reconciling"),
        ("Unknown", "Pending", "Reconciling"),
        ("Unknown", "StackNotReady", "Reconciling"),
        ("Unknown", "Stopping", "Reconciling"),
        ("Unknown", "Suspended", None),
        ("True", "Completed", None),
        ("False", "StepFailed", "Stalled"),
        ("False", "Cancelled", "Stalled"),
    ],
)
def test_what_is_told_of_a_run_s_progress(status: ConditionStatus, reason: str, progress: str | None):
    assert progress_of(Outcome(status, reason, "So it stands.")) == progress
