"""What a plan makes of `when` and `forEach`."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.planner import Stop, StopMode
from cairn.runs.scheduling import OneJobPerStep, Scheduler
from tests.unit.builders import (
    inputs,
    outputs,
    run_spec,
    seen,
    seen_failed,
    step,
)
from tests.unit.runs.planning import (
    ended,
    for_each,
    one_pod,
    planned,
    pods,
    queued,
    reasons,
    runs,
    starts,
    states,
    with_finally,
)

WHEN_FALSE = "params.mode == 'never'"
MODE = [{"name": "mode", "value": "full"}]
SPLIT = step("split", outputs=outputs(results=["shards"]))
FROM_RESULT = step("train", forEach={"itemsFrom": "steps.split.results.shards"})


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
    def pods(self, spec: RunSpec, *attempts: AttemptObservation, recorded: Iterable[StepStatus] = ()):
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
