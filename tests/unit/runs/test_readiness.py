from __future__ import annotations

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.cel import Question, evaluate
from cairn.runs.readiness import Settled, settled_without_attempt
from tests.unit.builders import inputs, outputs, run_spec, run_steps, states, step, step_status

SPLIT = step("split", outputs=outputs("data", results=["shards"]))
AFTER = run_spec(step("a"), step("b", dependsOn=["a"]))


def settled(spec: RunSpec, name: str, *recorded: StepStatus) -> Settled | None:
    by_name = {status.name: status for status in recorded}
    steps = run_steps(spec, by_name)
    found = settled_without_attempt(steps, name, by_name, {})
    if isinstance(found, Question):
        found = settled_without_attempt(steps, name, by_name, {found: evaluate(found)})
    assert not isinstance(found, Question)
    return found


def skipped(name: str, reason: str) -> StepStatus:
    return step_status(name, "Skipped", reason=reason)


def wrote_shards(value: str) -> StepStatus:
    return step_status("split", "Succeeded", results=[{"name": "shards", "value": value}])


class TestWhatItNeeds:
    def test_a_step_that_needs_nothing_may_start(self):
        assert settled(run_spec(step("a")), "a") is None

    @pytest.mark.parametrize("state", ["Pending", "Queued", "Running", "Retrying", "Succeeded"])
    def test_a_step_may_start_now_or_later_unless_what_it_needs_has_ended_otherwise(self, state: str):
        assert settled(AFTER, "b", *states(a=state).values()) is None

    @pytest.mark.parametrize(
        ("needed", "sentence"),
        [
            (step_status("a", "Failed"), "Step a, which it needs, failed."),
            (step_status("a", "Cancelled"), "Step a, which it needs, was cancelled."),
            (skipped("a", "DependencyFailed"), "Step a, which it needs, was skipped."),
            (skipped("a", "FailurePolicy"), "Step a, which it needs, was skipped."),
        ],
    )
    def test_what_went_wrong_holds_back_those_that_come_after_it(self, needed: StepStatus, sentence: str):
        assert settled(AFTER, "b", needed) == Settled("Skipped", "DependencyFailed", sentence)

    def test_one_that_went_wrong_holds_it_back_while_others_still_run(self):
        spec = run_spec(step("a"), step("b"), step("c", dependsOn=["a", "b"]))

        found = settled(spec, "c", step_status("a", "Running"), step_status("b", "Failed"))

        assert found == Settled("Skipped", "DependencyFailed", "Step b, which it needs, failed.")


class TestAfterAStepThatWasSkippedOnPurpose:
    @pytest.mark.parametrize("reason", ["WhenFalse", "DependencySkipped"])
    def test_what_only_comes_after_it_goes_on(self, reason: str):
        assert settled(AFTER, "b", skipped("a", reason)) is None

    @pytest.mark.parametrize("reason", ["WhenFalse", "DependencySkipped"])
    @pytest.mark.parametrize(
        "user",
        [
            step("b", inputs=inputs(data="split.data")),
            step("b", args=["$(steps.split.results.shards)"]),
            step("b", env=[{"name": "SHARDS", "value": "$(steps.split.results.shards)"}]),
            step("b", forEach={"itemsFrom": "steps.split.results.shards"}),
            step("b", inputs=inputs(data="split.data"), dependsOn=["split"]),
        ],
        ids=["input", "argument", "variable", "items", "input and dependsOn"],
    )
    def test_what_uses_its_outputs_is_skipped_on_purpose_too(self, user: Step, reason: str):
        spec = run_spec(SPLIT, user)

        found = settled(spec, "b", skipped("split", reason))

        assert found == Settled("Skipped", "DependencySkipped", "Step split, whose outputs it uses, was skipped.")

    def test_so_on_to_what_uses_the_outputs_of_that_one(self):
        spec = run_spec(
            SPLIT,
            step("train", inputs=inputs(data="split.data"), outputs=outputs("model")),
            step("report", inputs=inputs(model="train.model")),
            step("tidy", dependsOn=["train"]),
        )
        train = skipped("train", "DependencySkipped")

        using = settled(spec, "report", skipped("split", "WhenFalse"), train)
        following = settled(spec, "tidy", skipped("split", "WhenFalse"), train)

        assert (using and using.reason, following) == ("DependencySkipped", None)

    def test_using_it_in_when_is_not_using_its_outputs(self):
        spec = run_spec(SPLIT, step("b", dependsOn=["split"], when="steps.split.state == 'Skipped'"))

        assert settled(spec, "b", skipped("split", "WhenFalse")) is None

    @pytest.mark.parametrize("used", ["a", "b"])
    def test_a_failure_counts_for_more_whatever_the_names(self, used: str):
        failed = "b" if used == "a" else "a"
        spec = run_spec(
            step(used, outputs=outputs("data")),
            step(failed),
            step("c", inputs=inputs(data=f"{used}.data"), dependsOn=[failed]),
        )

        found = settled(spec, "c", skipped(used, "WhenFalse"), step_status(failed, "Failed"))

        assert found == Settled("Skipped", "DependencyFailed", f"Step {failed}, which it needs, failed.")


class TestWhen:
    SPEC = run_spec(step("a"), step("b", dependsOn=["a"], when="steps.a.state == 'Skipped'"))

    def test_true_lets_it_start(self):
        assert settled(self.SPEC, "b", skipped("a", "WhenFalse")) is None

    def test_false_skips_it_and_says_what_was_false(self):
        found = settled(self.SPEC, "b", step_status("a", "Succeeded"))

        assert found == Settled("Skipped", "WhenFalse", "Its when is false: steps.a.state == 'Skipped'")

    def test_it_is_evaluated_once_what_the_step_needs_has_ended(self):
        assert settled(self.SPEC, "b", step_status("a", "Running")) is None

    def test_one_that_cannot_be_evaluated_fails_the_step(self):
        spec = run_spec(step("a", when="double(params.x) > 1.0"), parameters=[{"name": "x", "value": "many"}])

        found = settled(spec, "a")

        message = "Its when cannot be evaluated: cannot convert string to double."
        assert found == Settled("Failed", "WhenInvalid", message)

    def test_a_step_that_is_held_back_is_not_asked(self):
        assert settled(self.SPEC, "b", step_status("a", "Failed")) == Settled(
            "Skipped", "DependencyFailed", "Step a, which it needs, failed."
        )

    def test_what_it_says_of_a_long_expression_fits_into_the_status(self):
        found = settled(run_spec(step("a", when=f"'{'x' * 1000}' == ''")), "a")

        assert found is not None
        assert len(found.message) == 256

    def test_each_instance_is_asked_for_itself(self):
        spec = run_spec(step("a", forEach={"items": ["x", "y"]}, when="item.value == 'x'"))

        assert settled(spec, "a-0") is None
        assert settled(spec, "a-1") == Settled("Skipped", "WhenFalse", "Its when is false: item.value == 'x'")


class TestItems:
    SPEC = run_spec(SPLIT, step("train", forEach={"itemsFrom": "steps.split.results.shards"}))

    def test_no_items_are_a_success(self):
        found = settled(self.SPEC, "train", wrote_shards("[]"))

        assert found == Settled("Succeeded", "NoItems", "There was no item to run it for.")

    def test_no_items_are_a_success_only_after_what_it_needs(self):
        spec = run_spec(step("a"), step("train", forEach={"items": []}, dependsOn=["a"]))

        assert settled(spec, "train", step_status("a", "Running")) is None
        assert settled(spec, "train", step_status("a", "Failed")) == Settled(
            "Skipped", "DependencyFailed", "Step a, which it needs, failed."
        )

    def test_items_that_cannot_be_read_fail_the_step(self):
        found = settled(self.SPEC, "train", wrote_shards("{}"))

        assert found is not None
        assert (found.state, found.reason) == ("Failed", "ItemsInvalid")
        assert found.message.startswith("steps.split.results.shards is ")

    def test_a_step_whose_items_are_not_known_yet_is_not_asked_about_them(self):
        spec = run_spec(
            SPLIT,
            step("train", forEach={"itemsFrom": "steps.split.results.shards"}, when="item.value == 'a'"),
        )

        assert settled(spec, "train", step_status("split", "Running")) is None

    def test_a_step_whose_items_become_known_just_now_is_not_asked_about_them(self):
        spec = run_spec(
            SPLIT,
            step("train", forEach={"itemsFrom": "steps.split.results.shards"}, when="item.value == 'a'"),
        )
        seen_just_now = {"split": wrote_shards('["a"]')}

        assert settled_without_attempt(run_steps(spec), "train", seen_just_now, {}) is None


class TestAfterAStepWithForEach:
    SPEC = run_spec(
        step("train", forEach={"items": ["x", "y"]}, outputs=outputs("model")),
        step("use", inputs=inputs(models="train.model")),
        step("follow", dependsOn=["train"]),
    )

    def test_one_failed_instance_holds_back_what_needs_the_step_once_all_have_ended(self):
        running = (step_status("train-0", "Failed"), step_status("train-1", "Running"))
        ended = (step_status("train-0", "Failed"), step_status("train-1", "Succeeded"))

        assert settled(self.SPEC, "follow", *running) is None
        assert settled(self.SPEC, "follow", *ended) == Settled(
            "Skipped", "DependencyFailed", "Step train, which it needs, failed."
        )

    def test_one_skipped_instance_holds_back_nothing(self):
        ended = (skipped("train-0", "WhenFalse"), step_status("train-1", "Succeeded"))

        assert (settled(self.SPEC, "use", *ended), settled(self.SPEC, "follow", *ended)) == (None, None)

    def test_only_if_all_instances_were_skipped_is_what_uses_them_skipped(self):
        ended = (skipped("train-0", "WhenFalse"), skipped("train-1", "WhenFalse"))

        using = settled(self.SPEC, "use", *ended)

        assert (using and using.reason, settled(self.SPEC, "follow", *ended)) == ("DependencySkipped", None)


class TestGatheredResults:
    SPEC = run_spec(
        step("train", forEach={"items": ["x"] * 25}, outputs=outputs(results=["r"])),
        step("select", args=["$(steps.train.results.r)"]),
    )

    def of_size(self, length: int) -> Settled | None:
        result = [{"name": "r", "value": "x" * length}]
        instances = (step_status(f"train-{index}", "Succeeded", attempts=1, results=result) for index in range(25))
        return settled(self.SPEC, "select", *instances)

    def test_those_that_an_argument_can_hold_are_used(self):
        assert self.of_size(3990) is None

    def test_those_that_no_argument_can_hold_fail_the_step(self):
        assert self.of_size(4000) == Settled(
            "Failed",
            "ResultsTooLarge",
            "Result r of all instances of step train together has 100076 bytes, of which a command or variable takes "
            "100000; keep it as an artifact.",
        )

    def test_one_that_is_used_too_often_for_an_argument_fails_the_step(self):
        spec = run_spec(
            step("train", outputs=outputs(results=["r"])),
            step("select", args=["$(steps.train.results.r)" * 30], dependsOn=["train"]),
        )
        result = [{"name": "r", "value": "x" * 4000}]

        found = settled(spec, "select", step_status("train", "Succeeded", attempts=1, results=result))

        assert found is not None
        assert (found.state, found.reason) == ("Failed", "ResultsTooLarge")
        assert "has some 120720 bytes, of which Linux takes 100000" in found.message


class TestSkippedInItsTurn:
    SPEC = run_spec(
        step("c", when="false", outputs=outputs("data")),
        step("d"),
        step("b", inputs=inputs(data="c.data"), dependsOn=["d"]),
    )

    def test_a_step_is_not_skipped_on_purpose_before_all_that_it_needs_has_ended(self):
        assert settled(self.SPEC, "b", skipped("c", "WhenFalse"), step_status("d", "Running")) is None

    def test_then_it_is(self):
        found = settled(self.SPEC, "b", skipped("c", "WhenFalse"), step_status("d", "Succeeded"))

        assert found is not None
        assert found.reason == "DependencySkipped"
