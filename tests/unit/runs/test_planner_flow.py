"""What a plan makes of `when`, `forEach` and `finally`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest

from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.api.time import parse
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.planner import Observed, Plan, Stop, StopMode, plan
from cairn.runs.pod import pod_settings, step_template
from cairn.runs.scheduling import OneJobPerStep, OnePodForAll, Scheduler
from tests.unit.builders import (
    LATER,
    MOMENT,
    NOW,
    after,
    inputs,
    local_stack,
    outputs,
    pod_context,
    run_spec,
    run_steps,
    seen,
    seen_failed,
    step,
    step_status,
)

TIDY = step("tidy")
WHEN_FALSE = "params.mode == 'never'"
MODE = [{"name": "mode", "value": "full"}]
SPLIT = step("split", outputs=outputs(results=["shards"]))
FROM_RESULT = step("train", forEach={"itemsFrom": "steps.split.results.shards"})


def planned(
    spec: PipelineRunSpec,
    *attempts: AttemptObservation,
    recorded: Iterable[StepStatus] = (),
    scheduler: Scheduler | None = None,
    now: datetime = MOMENT,
) -> Plan:
    states = {status.name: status for status in recorded}
    observed = Observed(states, attempts, start_time=NOW)
    return plan(run_steps(spec, states), observed, scheduler or OneJobPerStep(10), now)


def one_pod(spec: PipelineRunSpec) -> OnePodForAll:
    context = pod_context(local_stack())
    every = (*spec.steps, *(spec.finally_ or ()))
    return OnePodForAll({one.name: pod_settings(step_template(context, one)) for one in every})


def pods(decided: Plan) -> list[list[str]]:
    return [[name for name, _ in launch.attempts] for launch in decided.launches]


def starts(decided: Plan) -> list[str]:
    return [name for names in pods(decided) for name in names]


def states(decided: Plan) -> dict[str, str]:
    return {status.name: status.state for status in decided.steps}


def reasons(decided: Plan) -> dict[str, str | None]:
    return {status.name: status.reason for status in decided.steps}


def runs(name: str) -> AttemptObservation:
    return seen(name, Phase.RUNNING, started=NOW, on_node=True)


def ended(*names: str, state: str = "Succeeded", **fields: Any) -> list[StepStatus]:
    return [step_status(name, state, attempts=1, **fields) for name in names]


def queued(*names: str) -> list[StepStatus]:
    return [step_status(name, "Queued", attempts=1, queuedTime=NOW) for name in names]


def with_finally(*last: Step, steps: tuple[Step, ...] = (step("a"), step("b")), **fields: Any) -> PipelineRunSpec:
    return run_spec(*steps, **fields, **{"finally": list(last or (TIDY,))})


def for_each(*items: str, **fields: Any) -> Step:
    return step("train", forEach={"items": items or ("x", "y")}, **fields)


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


class TestWhen:
    def test_a_step_whose_when_is_false_is_skipped_and_the_run_completed(self):
        spec = run_spec(step("a"), step("b", when=WHEN_FALSE), parameters=MODE)

        decided = planned(spec, seen("a", Phase.SUCCEEDED))

        assert (states(decided)["b"], reasons(decided)["b"]) == ("Skipped", "WhenFalse")
        assert decided.outcome.message == "1 of 2 steps succeeded, 1 was skipped."

    def test_what_comes_after_a_skipped_step_goes_on_in_the_same_plan(self):
        spec = run_spec(step("a", when=WHEN_FALSE), step("b", dependsOn=["a"]), parameters=MODE)

        assert starts(planned(spec)) == ["b"]

    def test_what_uses_a_skipped_step_is_skipped_and_what_comes_after_that_goes_on(self):
        spec = run_spec(
            step("a", when=WHEN_FALSE, outputs=outputs("data")),
            step("b", inputs=inputs(data="a.data"), outputs=outputs("model")),
            step("c", inputs=inputs(model="b.model")),
            step("d", dependsOn=["b"]),
            parameters=MODE,
        )

        decided = planned(spec)

        assert reasons(decided) == {
            "a": "WhenFalse",
            "b": "DependencySkipped",
            "c": "DependencySkipped",
            "d": None,
        }
        assert starts(decided) == ["d"]

    @pytest.mark.parametrize(("policy", "other"), [("ContinueOnFailure", "Queued"), ("FailFast", "Skipped")])
    def test_one_that_cannot_be_evaluated_fails_the_step_under_the_run_s_policy(self, policy: str, other: str):
        spec = run_spec(
            step("a", when="int(params.mode) > 1"),
            step("b", dependsOn=["a"]),
            step("c"),
            parameters=MODE,
            failurePolicy=policy,
        )

        decided = planned(spec)

        assert states(decided) == {"a": "Failed", "b": "Skipped", "c": other}
        assert reasons(decided)["a"] == "WhenInvalid"

    def test_it_is_evaluated_with_results_that_were_seen_just_now(self):
        spec = run_spec(
            step("eval", outputs=outputs(results=["rmse"])),
            step("deploy", dependsOn=["eval"], when="double(steps.eval.results.rmse) < 0.5"),
        )

        good = planned(spec, seen("eval", Phase.SUCCEEDED, results={"rmse": "0.4"}))
        bad = planned(spec, seen("eval", Phase.SUCCEEDED, results={"rmse": "0.6"}))

        assert (starts(good), starts(bad)) == (["deploy"], [])
        assert reasons(bad)["deploy"] == "WhenFalse"

    def test_it_is_not_asked_again_once_an_attempt_was_made(self):
        spec = run_spec(step("a", when=WHEN_FALSE), parameters=MODE)

        assert states(planned(spec, runs("a"), recorded=queued("a"))) == {"a": "Running"}


class TestForEach:
    def test_instances_start_up_to_the_limit_in_the_order_of_the_items(self):
        spec = run_spec(for_each(*(str(index) for index in range(12))), maxParallelSteps=3)

        first = planned(spec)
        later = planned(spec, recorded=ended(*(f"train-{index}" for index in range(9))))

        assert starts(first) == ["train-0", "train-1", "train-2"]
        assert starts(later) == ["train-9", "train-10", "train-11"]

    def test_each_instance_has_a_status_of_its_own_with_its_item(self):
        decided = planned(run_spec(for_each("eu", "x" * 100)), runs("train-0"))

        assert [(status.name, status.state, status.item) for status in decided.steps] == [
            ("train-0", "Running", "eu"),
            ("train-1", "Queued", "x" * 63),
        ]

    def test_statuses_are_in_the_order_of_the_items(self):
        spec = run_spec(step("a"), for_each(*"abcdefghijkl"), step("z"))

        assert list(states(planned(spec))) == ["a", *(f"train-{index}" for index in range(12)), "z"]

    @pytest.mark.parametrize(
        "user",
        [
            step("use", dependsOn=["train"]),
            step("use", inputs=inputs(models="train.model")),
            step("use", args=["$(steps.train.results.score)"]),
        ],
        ids=["dependsOn", "input", "result"],
    )
    def test_what_needs_the_step_waits_for_all_its_instances(self, user: Step):
        spec = run_spec(for_each(outputs=outputs("model", results=["score"])), user)

        waits = planned(spec, seen("train-0", Phase.SUCCEEDED), runs("train-1"))
        starts_now = planned(spec, seen("train-0", Phase.SUCCEEDED), seen("train-1", Phase.SUCCEEDED))

        assert (starts(waits), starts(starts_now)) == ([], ["use"])

    def test_a_failed_instance_leaves_the_others_to_go_on(self):
        spec = run_spec(for_each("x", "y", "z"), step("use", dependsOn=["train"]), maxParallelSteps=2)

        first = planned(spec, seen_failed("train-0", Fault.STEP), runs("train-1"))
        last = planned(spec, *(seen(f"train-{index}", Phase.SUCCEEDED) for index in (1, 2)), recorded=first.steps)

        assert (starts(first), states(first)["use"]) == (["train-2"], "Pending")
        assert (states(last)["use"], last.outcome.message) == ("Skipped", "Step train-0 failed: ExitCode: No.")

    def test_a_failed_instance_starts_no_other_under_stop_on_failure(self):
        spec = run_spec(for_each("x", "y", "z"), failurePolicy="StopOnFailure")

        decided = planned(spec, seen_failed("train-0", Fault.STEP), runs("train-1"))

        assert (starts(decided), decided.stops) == ([], ())
        assert states(decided) == {"train-0": "Failed", "train-1": "Running", "train-2": "Skipped"}

    def test_a_failed_instance_stops_the_others_under_fail_fast(self):
        spec, attempt = run_spec(for_each("x", "y", "z"), failurePolicy="FailFast"), runs("train-1")

        decided = planned(spec, seen_failed("train-0", Fault.STEP), attempt)

        assert decided.stops == (Stop(attempt, StopMode.GRACEFUL),)
        assert reasons(decided) == {"train-0": "ExitCode", "train-1": "FailurePolicy", "train-2": "FailurePolicy"}

    def test_each_instance_is_tried_again_for_itself(self):
        spec = run_spec(for_each(retry={"limit": 1}), step("use", dependsOn=["train"]))

        decided = planned(spec, seen_failed("train-0", Fault.STEP), seen("train-1", Phase.SUCCEEDED))

        assert states(decided) == {"train-0": "Retrying", "train-1": "Succeeded", "use": "Pending"}

    def test_one_whose_items_are_none_has_succeeded_and_what_needs_it_goes_on(self):
        spec = run_spec(step("train", forEach={"items": []}), step("use", dependsOn=["train"]))

        decided = planned(spec)

        assert (reasons(decided)["train"], starts(decided)) == ("NoItems", ["use"])

    @pytest.mark.parametrize("scheduler", [OneJobPerStep(10), one_pod(run_spec(SPLIT, FROM_RESULT))])
    def test_one_whose_items_are_not_known_yet_does_not_start_itself(self, scheduler: Scheduler):
        spec = run_spec(SPLIT, FROM_RESULT)

        before = planned(spec, scheduler=scheduler)
        just_now = planned(spec, seen("split", Phase.SUCCEEDED, results={"shards": '["a"]'}), scheduler=scheduler)

        assert (starts(before), starts(just_now)) == (["split"], [])
        assert states(just_now)["train"] == "Pending"

    def test_one_whose_items_are_known_now_has_instances(self):
        spec = run_spec(SPLIT, FROM_RESULT)
        recorded = ended("split", results=[{"name": "shards", "value": '["a", "b"]'}])

        assert starts(planned(spec, recorded=recorded)) == ["train-0", "train-1"]

    def test_one_whose_items_cannot_be_read_fails_without_an_attempt(self):
        spec = run_spec(SPLIT, FROM_RESULT, step("use", dependsOn=["train"]))

        decided = planned(spec, recorded=ended("split", results=[{"name": "shards", "value": "a, b"}]))

        assert (starts(decided), states(decided)["use"], decided.outcome.status) == ([], "Skipped", "False")
        assert reasons(decided)["train"] == "ItemsInvalid"

    def test_instances_that_a_cancel_came_before_are_cancelled(self):
        decided = planned(run_spec(for_each(), cancel="Graceful"))

        assert states(decided) == {"train-0": "Cancelled", "train-1": "Cancelled"}

    def test_planning_twice_makes_no_second_attempt(self):
        spec = run_spec(for_each())
        first = planned(spec)

        again = planned(spec, *(seen(name, Phase.WAITING) for name in ("train-0", "train-1")), recorded=first.steps)

        assert (again.steps, again.launches) == (first.steps, ())


class TestOnePodForAll:
    def pods(self, spec: PipelineRunSpec, *attempts: AttemptObservation, recorded: Iterable[StepStatus] = ()):
        return pods(planned(spec, *attempts, recorded=recorded, scheduler=one_pod(spec)))

    def test_a_step_with_when_joins_no_pod_before_what_it_needs_has_ended(self):
        spec = run_spec(
            step("a"),
            step("b", dependsOn=["a"], when="steps.a.state == 'Succeeded'"),
            step("c", dependsOn=["b"]),
            step("free"),
        )

        assert self.pods(spec) == [["a", "free"]]
        assert self.pods(spec, recorded=ended("a", "free")) == [["b", "c"]]

    def test_a_step_with_when_that_needs_nothing_joins_the_first_pod(self):
        spec = run_spec(step("a"), step("b", when="params.mode == 'full'"), parameters=MODE)

        assert self.pods(spec) == [["a", "b"]]

    def test_what_comes_after_a_skipped_step_joins_the_pod(self):
        spec = run_spec(step("a", when=WHEN_FALSE), step("b", dependsOn=["a"]), step("c"), parameters=MODE)

        assert self.pods(spec) == [["b", "c"]]

    def test_a_pod_has_at_most_fifty_steps(self):
        spec = run_spec(for_each(*(str(index) for index in range(60))))
        names = [f"train-{index}" for index in range(60)]

        assert self.pods(spec) == [names[:50]]
        assert self.pods(spec, recorded=ended(*names[:50])) == [names[50:]]

    def test_what_needs_a_step_with_for_each_starts_in_another_pod(self):
        spec = run_spec(for_each(outputs=outputs("model")), step("use", inputs=inputs(models="train.model")))

        assert self.pods(spec) == [["train-0", "train-1"]]
        assert self.pods(spec, recorded=ended("train-0", "train-1")) == [["use"]]

    def test_instances_follow_what_they_need_in_the_same_pod(self):
        spec = run_spec(step("a"), for_each(dependsOn=["a"]))

        assert self.pods(spec) == [["a", "train-0", "train-1"]]

    def test_finally_starts_in_another_pod(self):
        spec = with_finally(step("x"), step("y", dependsOn=["x"]))

        assert self.pods(spec) == [["a", "b"]]
        assert self.pods(spec, recorded=ended("a", "b")) == [["x", "y"]]
