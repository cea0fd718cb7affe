"""What a plan makes of `finally`."""

from __future__ import annotations

import pytest

from cairn.api.time import parse
from cairn.runs.observation import Fault, Phase
from cairn.runs.planner import Observed, Stop, StopMode, plan
from tests.unit.builders import (
    LATER,
    MOMENT,
    NOW,
    after,
    inputs,
    outputs,
    run_steps,
    seen,
    seen_failed,
    step,
    step_status,
)
from tests.unit.runs.planning import TIDY, ended, for_each, planned, queued, reasons, runs, starts, states, with_finally


class TestFinally:
    def test_it_waits_until_all_others_have_ended(self):
        decided = planned(with_finally(), seen("a", Phase.SUCCEEDED), runs("b"))

        assert (starts(decided), states(decided)["tidy"]) == ([], "Pending")

    def test_it_waits_for_what_is_tried_again(self):
        waits = step_status("b", "Retrying", attempts=1, reason="Evicted", nextAttemptTime=LATER)

        decided = planned(with_finally(), recorded=[*ended("a"), waits])

        assert (starts(decided), states(decided)["tidy"]) == ([], "Pending")

    def test_it_starts_as_soon_as_all_others_have_ended(self):
        decided = planned(with_finally(), seen("a", Phase.SUCCEEDED), seen("b", Phase.SUCCEEDED))

        assert (starts(decided), decided.outcome.finished) == (["tidy"], False)

    def test_the_run_has_ended_once_it_has(self):
        decided = planned(with_finally(), seen("tidy", Phase.SUCCEEDED), recorded=ended("a", "b"))

        assert (decided.outcome.reason, decided.outcome.message) == ("Completed", "All 3 steps succeeded.")

    @pytest.mark.parametrize("policy", ["ContinueOnFailure", "StopOnFailure", "FailFast"])
    def test_it_runs_after_a_failure(self, policy: str):
        spec = with_finally(step("first"), step("then", dependsOn=["first"]), failurePolicy=policy)
        failed = [*ended("a"), *ended("b", state="Failed", reason="ExitCode")]

        decided = planned(spec, recorded=failed)
        afterwards = planned(spec, seen("first", Phase.SUCCEEDED), recorded=[*failed, *queued("first")])

        assert (starts(decided), starts(afterwards)) == (["first"], ["then"])

    def test_it_waits_for_what_fail_fast_stops(self):
        spec = with_finally(failurePolicy="FailFast")

        first = planned(spec, seen_failed("a", Fault.STEP), runs("b"))
        second = planned(spec, seen_failed("b", Fault.STOPPED), recorded=first.steps)

        assert (starts(first), states(first)["tidy"]) == ([], "Pending")
        assert (starts(second), states(second)["b"]) == (["tidy"], "Cancelled")

    def test_it_waits_for_what_a_graceful_cancel_stops(self):
        spec = with_finally(cancel="Graceful")

        first = planned(spec, runs("a"), recorded=[*ended("b")])
        second = planned(spec, seen_failed("a", Fault.STOPPED), recorded=first.steps)

        assert (starts(first), first.outcome.finished) == ([], False)
        assert (starts(second), second.outcome.finished) == (["tidy"], False)

    def test_a_run_that_was_cancelled_gracefully_is_cancelled_once_it_has_ended(self):
        cancelled = ended("a", "b", state="Cancelled", reason="Cancelled")

        decided = planned(with_finally(cancel="Graceful"), seen("tidy", Phase.SUCCEEDED), recorded=cancelled)

        assert (decided.outcome.reason, states(decided)["tidy"]) == ("Cancelled", "Succeeded")

    def test_a_graceful_cancel_does_not_stop_it(self):
        decided = planned(with_finally(cancel="Graceful"), runs("tidy"), recorded=ended("a", "b"))

        assert (decided.stops, states(decided)["tidy"]) == ((), "Running")

    def test_it_does_not_run_after_an_immediate_cancel(self):
        decided = planned(with_finally(cancel="Immediate"), recorded=ended("a", "b"))

        assert (starts(decided), states(decided)["tidy"]) == ([], "Cancelled")
        assert decided.outcome.reason == "Cancelled"

    def test_an_immediate_cancel_stops_it(self):
        attempt = runs("tidy")

        decided = planned(with_finally(cancel="Immediate"), attempt, recorded=ended("a", "b"))

        assert decided.stops == (Stop(attempt, StopMode.IMMEDIATE),)
        assert (states(decided)["tidy"], decided.outcome.finished) == ("Cancelled", True)

    def test_it_runs_after_the_run_s_timeout(self):
        spec = with_finally(timeoutSeconds=60)

        first = planned(spec, runs("a"), now=after(61))
        second = planned(spec, seen_failed("a", Fault.STOPPED), recorded=first.steps, now=after(70))

        assert (starts(first), states(first)["b"]) == ([], "Cancelled")
        assert (starts(second), states(second)["a"]) == (["tidy"], "Cancelled")

    def test_a_run_that_has_timed_out_has_though_it_succeeds(self):
        late = ended("a", "b", state="Cancelled", reason="RunTimedOut")

        decided = planned(with_finally(timeoutSeconds=60), seen("tidy", Phase.SUCCEEDED), recorded=late, now=after(90))

        assert (decided.outcome.reason, states(decided)["tidy"]) == ("TimedOut", "Succeeded")

    def test_the_run_s_timeout_does_not_stop_it(self):
        decided = planned(with_finally(timeoutSeconds=60), runs("tidy"), recorded=ended("a", "b"), now=after(3600))

        assert (decided.stops, states(decided)["tidy"], decided.outcome.reason) == ((), "Running", "Running")

    def test_a_run_whose_steps_were_in_time_has_not_timed_out_though_it_takes_longer(self):
        done = seen("tidy", Phase.SUCCEEDED)

        decided = planned(with_finally(timeoutSeconds=60), done, recorded=ended("a", "b"), now=after(3600))

        assert decided.outcome.reason == "Completed"

    def test_its_own_timeout_stops_it(self):
        attempt = runs("tidy")

        decided = planned(
            with_finally(step("tidy", timeoutSeconds=60)), attempt, recorded=ended("a", "b"), now=after(61)
        )

        assert decided.stops == (Stop(attempt, StopMode.GRACEFUL),)

    def test_its_failure_fails_the_run(self):
        decided = planned(with_finally(), seen_failed("tidy", Fault.STEP), recorded=ended("a", "b"))

        assert (decided.outcome.status, decided.outcome.message) == ("False", "Step tidy failed: ExitCode: No.")

    def test_it_is_tried_again_though_the_policy_starts_nothing_more(self):
        spec = with_finally(step("tidy", retry={"limit": 1}), failurePolicy="FailFast")
        failed = ended("a", "b", state="Failed", reason="ExitCode")

        decided = planned(spec, seen_failed("tidy", Fault.STEP), recorded=failed)

        assert states(decided)["tidy"] == "Retrying"

    def test_the_policy_is_not_about_it(self):
        spec = with_finally(step("tidy"), step("tell"), failurePolicy="FailFast")

        decided = planned(spec, seen_failed("tidy", Fault.STEP), runs("tell"), recorded=ended("a", "b"))

        assert (decided.stops, states(decided)["tell"]) == ((), "Running")

    def test_one_whose_input_comes_from_a_step_that_failed_is_skipped(self):
        spec = with_finally(
            step("upload", inputs=inputs(data="a.data")), TIDY, steps=(step("a", outputs=outputs("data")),)
        )

        decided = planned(spec, seen_failed("a", Fault.STEP))

        assert (starts(decided), reasons(decided)["upload"]) == (["tidy"], "DependencyFailed")

    def test_its_when_is_not_asked_before_all_others_have_ended(self):
        mourn = step("mourn", when="run.state == 'Failed'")

        first = planned(with_finally(mourn), runs("b"), recorded=ended("a"))
        second = planned(with_finally(mourn), seen_failed("b", Fault.STEP), recorded=first.steps)

        assert (states(first)["mourn"], starts(second)) == ("Pending", ["mourn"])

    def test_when_tells_ends_apart(self):
        last = (step("cheer", when="run.state == 'Succeeded'"), step("mourn", when="run.state == 'Failed'"))

        well = planned(with_finally(*last), recorded=ended("a", "b"))
        badly = planned(with_finally(*last), recorded=[*ended("a"), *ended("b", state="Failed", reason="ExitCode")])

        assert (starts(well), starts(badly)) == (["cheer"], ["mourn"])

    def test_a_suspended_run_does_not_start_it(self):
        decided = planned(with_finally(suspend=True), recorded=ended("a", "b"))

        assert (starts(decided), states(decided)["tidy"], decided.outcome.reason) == ([], "Pending", "Suspended")

    def test_a_suspended_run_holds_it_after_a_failure_under_each_policy(self):
        spec = with_finally(suspend=True, failurePolicy="FailFast")

        decided = planned(spec, recorded=[*ended("a", state="Failed"), *ended("b", state="Skipped")])

        assert (starts(decided), decided.outcome.reason) == ([], "Suspended")

    def test_a_retry_of_it_is_waited_for_where_a_suspended_run_is_cancelled(self):
        retrying = step_status("tidy", "Retrying", attempts=1, nextAttemptTime=LATER)

        decided = planned(
            with_finally(suspend=True, cancel="Graceful"), recorded=[*ended("a", "b", state="Cancelled"), retrying]
        )

        assert decided.look_again == parse(LATER)

    def test_it_runs_where_a_suspended_run_is_cancelled(self):
        decided = planned(with_finally(suspend=True, cancel="Graceful"))

        assert starts(decided) == ["tidy"]

    def test_a_cancelled_run_whose_stack_is_not_ready_says_so(self):
        steps = run_steps(with_finally(cancel="Graceful"))

        decided = plan(steps, Observed({}, start_time=NOW), None, MOMENT, "Stack ml/x is not Ready.")

        assert "Stack ml/x is not Ready." in decided.outcome.message

    def test_the_limit_of_parallel_steps_holds_for_it(self):
        decided = planned(with_finally(step("x"), step("y"), maxParallelSteps=1), recorded=ended("a", "b"))

        assert starts(decided) == ["x"]

    def test_each_item_of_it_has_an_instance(self):
        decided = planned(with_finally(for_each()), recorded=ended("a", "b"))

        assert starts(decided) == ["train-0", "train-1"]
