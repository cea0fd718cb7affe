from __future__ import annotations

import pytest

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.time import parse
from cairn.runs.stopping import Halt, halt_of, run_deadline
from tests.unit.builders import EARLIER, MOMENT, NOW, after, run_spec, step_status

RUNNING = step_status("load", "Running", attempts=1)
FAILED = step_status("train", "Failed", attempts=1, reason="ExitCode")


def halt(*steps: StepStatus, seconds: float = 0, **fields: object) -> Halt | None:
    return halt_of(run_spec(**fields), steps, NOW, after(seconds))


class TestDeadline:
    def test_a_run_without_a_timeout_has_none(self):
        assert run_deadline(run_spec(), NOW) is None

    def test_a_run_that_has_not_started_has_none(self):
        assert run_deadline(run_spec(timeoutSeconds=60), None) is None

    def test_it_is_never_sooner_than_the_timeout_after_the_start(self):
        deadline = run_deadline(run_spec(timeoutSeconds=60), EARLIER)

        assert deadline is not None
        assert (deadline - parse(EARLIER)).total_seconds() == 61

    def test_before_it_the_run_goes_on(self):
        assert halt(RUNNING, seconds=60, timeoutSeconds=60) is None

    def test_at_it_the_run_has_timed_out(self):
        timed_out = halt(RUNNING, seconds=61, timeoutSeconds=60)

        assert timed_out == Halt("RunTimedOut", "The run has taken longer than its timeoutSeconds (60).")

    @pytest.mark.parametrize("state", ["Running", "Cancelled"])
    def test_it_stays_the_reason_though_the_clock_is_set_back(self, state: str):
        stopped = step_status("load", state, attempts=1, reason="RunTimedOut")

        timed_out = halt(stopped, seconds=-3600, timeoutSeconds=60)

        assert timed_out is not None
        assert timed_out.reason == "RunTimedOut"

    def test_it_stays_the_reason_though_the_run_is_cancelled_then(self):
        stopped = step_status("load", "Running", attempts=1, reason="RunTimedOut")

        timed_out = halt(stopped, seconds=61, timeoutSeconds=60, cancel="Graceful")

        assert timed_out is not None
        assert (timed_out.reason, timed_out.immediately) == ("RunTimedOut", False)

    def test_a_run_that_timed_out_need_not_be_waited_for(self):
        stopped = step_status("load", "Running", attempts=1, reason="RunTimedOut")

        timed_out = halt(stopped, seconds=61, timeoutSeconds=60, cancel="Immediate")

        assert timed_out is not None
        assert (timed_out.reason, timed_out.immediately) == ("RunTimedOut", True)


class TestCancel:
    def test_graceful_stops_what_runs_and_waits_for_it(self):
        assert halt(RUNNING, cancel="Graceful") == Halt("Cancelled", "The run was cancelled.")

    def test_immediate_does_not_wait(self):
        assert halt(RUNNING, cancel="Immediate") == Halt("Cancelled", "The run was cancelled.", immediately=True)

    def test_it_comes_before_a_failure(self):
        cancelled = halt(FAILED, cancel="Graceful", failurePolicy="FailFast")

        assert cancelled is not None
        assert (cancelled.reason, cancelled.is_failure) == ("Cancelled", False)

    def test_it_stays_the_reason_though_the_run_takes_too_long_then(self):
        stopped = step_status("load", "Running", attempts=1, reason="Cancelled")

        cancelled = halt(stopped, seconds=61, timeoutSeconds=60, cancel="Graceful")

        assert cancelled is not None
        assert cancelled.reason == "Cancelled"


class TestFailurePolicy:
    def test_on_its_own_a_failure_stops_nothing(self):
        assert halt(FAILED, RUNNING) is None

    def test_stop_on_failure_starts_nothing_more_and_lets_run_what_runs(self):
        stopped = halt(RUNNING, FAILED, failurePolicy="StopOnFailure")

        message = "Step train failed, and the run's failurePolicy is StopOnFailure."
        assert stopped == Halt("FailurePolicy", message, stops_running=False)

    def test_it_is_the_one_halt_that_follows_from_a_failure(self):
        stopped = halt(FAILED, failurePolicy="FailFast")

        assert stopped is not None
        assert stopped.is_failure

    def test_fail_fast_stops_what_runs(self):
        stopped = halt(RUNNING, FAILED, failurePolicy="FailFast")

        assert stopped == Halt("FailurePolicy", "Step train failed, and the run's failurePolicy is FailFast.")

    @pytest.mark.parametrize("policy", ["ContinueOnFailure", "StopOnFailure", "FailFast"])
    @pytest.mark.parametrize("state", ["Running", "Retrying", "Skipped", "Cancelled", "Succeeded"])
    def test_only_a_step_that_has_failed_for_good_counts(self, policy: str, state: str):
        one = step_status("load", state, attempts=1, reason="ExitCode")

        assert halt_of(run_spec(failurePolicy=policy), [one], NOW, MOMENT) is None

    def test_the_first_failure_is_told(self):
        other = step_status("report", "Failed", attempts=1, reason="ExitCode")

        stopped = halt(FAILED, other, failurePolicy="FailFast")

        assert stopped is not None
        assert stopped.message.startswith("Step train failed")
