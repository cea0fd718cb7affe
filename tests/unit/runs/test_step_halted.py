"""What becomes of one step of a run that was cancelled, timed out, or stops after a failure."""

from __future__ import annotations

import pytest

from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.step_plan import Situation, advance
from cairn.runs.stopping import Halt
from tests.unit.builders import LATER, MOMENT, NOW, seen, seen_failed
from tests.unit.runs.train_step import CANCELLED, PENDING, QUEUED, RETRYING, RUNNING, TRAIN

AT_ONCE = Halt("Cancelled", "The run was cancelled.", immediately=True)
TIMED_OUT = Halt("RunTimedOut", "The run has taken longer than its timeoutSeconds (60).")
FAIL_FAST = Halt("FailurePolicy", "Step load failed, and the run's failurePolicy is FailFast.")
STOP_ON_FAILURE = Halt("FailurePolicy", "Step load failed.", stops_running=False)


def halted(recorded: StepStatus, attempt: AttemptObservation | None = None, *, halt: Halt) -> StepStatus:
    situation = Situation(MOMENT, halt, starts=True, attempt=attempt, refusal=None, settled=None)
    return advance(TRAIN, recorded, situation)


@pytest.mark.parametrize("halt", [CANCELLED, AT_ONCE, TIMED_OUT])
@pytest.mark.parametrize("recorded", [PENDING, QUEUED, RETRYING], ids=lambda status: status.state)
def test_what_does_not_run_is_cancelled_at_once(halt: Halt, recorded: StepStatus):
    status = halted(recorded, halt=halt)

    assert (status.state, status.reason, status.message) == ("Cancelled", halt.reason, halt.message)
    assert status.next_attempt_time is None


def test_an_attempt_that_was_not_made_is_not_counted():
    assert halted(QUEUED, halt=CANCELLED).attempts == 0


@pytest.mark.parametrize("halt", [CANCELLED, TIMED_OUT, FAIL_FAST])
def test_what_runs_is_being_stopped(halt: Halt):
    status = halted(RUNNING, seen("train", Phase.RUNNING), halt=halt)

    assert (status.state, status.reason) == ("Running", halt.reason)
    assert status.message == f"{halt.message} The step is being stopped."


@pytest.mark.parametrize("halt", [CANCELLED, TIMED_OUT, FAIL_FAST])
def test_what_waits_in_its_pod_is_being_stopped_too_and_its_job_known(halt: Halt):
    status = halted(QUEUED, seen("train", Phase.WAITING), halt=halt)

    assert (status.state, status.reason, status.job_name) == ("Queued", halt.reason, "wine-1-train-1")


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.RUNNING])
def test_immediately_it_has_ended(phase: Phase):
    status = halted(RUNNING, seen("train", phase), halt=AT_ONCE)

    assert (status.state, status.reason, status.completion_time) == ("Cancelled", "Cancelled", NOW)


@pytest.mark.parametrize("halt", [CANCELLED, TIMED_OUT, FAIL_FAST])
@pytest.mark.parametrize("fault", [Fault.STOPPED, Fault.DISRUPTION])
def test_what_was_stopped_is_cancelled(halt: Halt, fault: Fault):
    status = halted(RUNNING, seen_failed("train", fault, ended=LATER), halt=halt)

    assert (status.state, status.reason, status.completion_time) == ("Cancelled", halt.reason, LATER)


def test_what_was_stopped_is_cancelled_too_when_its_job_is_gone():
    assert halted(RUNNING, halt=CANCELLED).state == "Cancelled"


@pytest.mark.parametrize("halt", [CANCELLED, AT_ONCE, TIMED_OUT, FAIL_FAST, STOP_ON_FAILURE])
def test_what_succeeded_in_time_has_succeeded(halt: Halt):
    assert halted(RUNNING, seen("train", Phase.SUCCEEDED), halt=halt).state == "Succeeded"


@pytest.mark.parametrize("halt", [CANCELLED, AT_ONCE, TIMED_OUT, FAIL_FAST, STOP_ON_FAILURE])
def test_what_failed_by_itself_has_failed_and_is_not_tried_again(halt: Halt):
    status = halted(RUNNING, seen_failed("train", Fault.STEP), halt=halt)

    assert (status.state, status.reason, status.retries_used) == ("Failed", "ExitCode", 0)


def test_a_cancelled_run_cancels_what_its_own_timeout_is_stopping():
    being_stopped = RUNNING.model_copy(update={"reason": "DeadlineExceeded"})

    status = halted(being_stopped, seen_failed("train", Fault.STOPPED), halt=CANCELLED)

    assert (status.state, status.reason) == ("Cancelled", "Cancelled")


@pytest.mark.parametrize("halt", [FAIL_FAST, STOP_ON_FAILURE])
def test_after_a_failure_what_had_not_started_is_skipped(halt: Halt):
    status = halted(PENDING, halt=halt)

    assert (status.state, status.reason, status.message) == ("Skipped", "FailurePolicy", halt.message)


@pytest.mark.parametrize("halt", [FAIL_FAST, STOP_ON_FAILURE])
def test_after_a_failure_what_was_not_made_yet_is_skipped(halt: Halt):
    status = halted(QUEUED, halt=halt)

    assert (status.state, status.attempts) == ("Skipped", 0)


@pytest.mark.parametrize("halt", [FAIL_FAST, STOP_ON_FAILURE])
def test_after_a_failure_what_was_to_be_tried_again_has_failed_with_its_own_cause(halt: Halt):
    status = halted(RETRYING, halt=halt)

    assert (status.state, status.reason, status.next_attempt_time) == ("Failed", "ExitCode", None)


def test_what_runs_may_finish_where_the_policy_says_so():
    status = halted(RUNNING, seen("train", Phase.RUNNING), halt=STOP_ON_FAILURE)

    assert (status.state, status.reason) == ("Running", None)


def test_a_disruption_is_not_tried_again_where_nothing_more_starts():
    status = halted(RUNNING, seen_failed("train", Fault.DISRUPTION), halt=STOP_ON_FAILURE)

    assert (status.state, status.reason) == ("Failed", "Evicted")


def test_a_turn_in_a_shared_pod_does_not_come_any_more():
    assert halted(PENDING, seen("train", Phase.WAITING), halt=CANCELLED).state == "Cancelled"
