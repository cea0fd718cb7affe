from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.gathering import artifacts_by_step, gathered, results_by_step
from cairn.runs.graph import StepGraph
from cairn.runs.instances import RunSteps, item_of
from cairn.runs.items import InstanceMaker, parse_items
from tests.unit.builders import outputs, run_spec, run_steps, states, step, step_status

SPLIT = step("split", outputs=outputs(results=["shards"]))
FROM_RESULT = run_spec(SPLIT, step("train", forEach={"itemsFrom": "steps.split.results.shards"}))


def wrote(name: str, **results: str) -> StepStatus:
    return step_status(name, "Succeeded", results=[{"name": key, "value": value} for key, value in results.items()])


def kept(name: str, *artifacts: str) -> StepStatus:
    found = [{"name": item, "uri": f"s3://b/{name}/{item}", "digest": "sha256:1", "sizeBytes": 1} for item in artifacts]
    return step_status(name, "Succeeded", artifacts=found)


def by_name(*statuses: StepStatus) -> dict[str, StepStatus]:
    return {status.name: status for status in statuses}


def items_of(steps: RunSteps, name: str) -> list[tuple[str, int] | None]:
    return [item_of(steps.by_name[instance]) for instance in steps.instances.get(name, ())]


def from_parameter(value: str) -> RunSpec:
    train = step("train", forEach={"itemsFrom": "params.regions"})
    return run_spec(train, parameters=[{"name": "regions", "value": value}])


def for_each(count: int = 2, **fields: Any) -> Step:
    return step("train", forEach={"items": [f"i{index}" for index in range(count)]}, **fields)


class TestInstances:
    def test_each_item_has_an_instance_in_place_of_the_step(self):
        steps = run_steps(run_spec(step("a"), for_each(), step("z")))

        assert list(steps.by_name) == ["a", "train-0", "train-1", "z"]
        assert items_of(steps, "train") == [("i0", 0), ("i1", 1)]

    def test_an_instance_is_the_step_but_for_its_name(self):
        written = for_each(args=["$(item.value)"], timeoutSeconds=7, when="item.index > 0")

        instance = run_steps(run_spec(written)).by_name["train-1"]

        assert (instance.args, instance.timeout_seconds, instance.when) == (written.args, 7, "item.index > 0")
        assert instance.for_each is None

    def test_instances_of_more_than_ten_items_are_in_the_order_of_the_items(self):
        steps = run_steps(run_spec(for_each(12)))

        assert list(steps.by_name) == [f"train-{index}" for index in range(12)]

    def test_the_same_item_twice_has_two_instances(self):
        steps = run_steps(run_spec(step("train", forEach={"items": ["x", "x"]})))

        assert items_of(steps, "train") == [("x", 0), ("x", 1)]

    def test_a_parameter_s_items_are_known_from_the_start(self):
        assert items_of(run_steps(from_parameter('["eu", "us"]')), "train") == [("eu", 0), ("us", 1)]

    @pytest.mark.parametrize("state", ["Pending", "Running", "Retrying", "Failed", "Skipped"])
    def test_a_result_s_items_are_not_known_before_its_step_has_succeeded(self, state: str):
        recorded = by_name(step_status("split", state, results=[{"name": "shards", "value": '["a"]'}]))

        steps = run_steps(FROM_RESULT, recorded)

        assert (list(steps.by_name), steps.instances, steps.problems) == (["split", "train"], {}, {})

    def test_a_result_s_items_are_known_once_its_step_has_succeeded(self):
        steps = run_steps(FROM_RESULT, by_name(wrote("split", shards='["a", "b"]')))

        assert items_of(steps, "train") == [("a", 0), ("b", 1)]

    def test_no_items_are_no_instances(self):
        steps = run_steps(run_spec(for_each(0)))

        assert (list(steps.by_name), steps.instances, set(steps.without_items)) == (["train"], {}, {"train"})

    @pytest.mark.parametrize("value", ["a, b", '{"a": 1}', '"a"', "null"])
    def test_items_that_are_no_list_are_a_problem_of_the_step(self, value: str):
        steps = run_steps(FROM_RESULT, by_name(wrote("split", shards=value)))

        assert steps.problems["train"].startswith("steps.split.results.shards is ")
        assert (list(steps.by_name), steps.instances) == (["split", "train"], {})

    def test_a_step_whose_items_would_be_too_many_together_with_others_has_none(self):
        spec = run_spec(SPLIT, step("few", forEach={"items": ["x"] * 900}), FROM_RESULT.steps[1])

        at_most = run_steps(spec, by_name(wrote("split", shards=json.dumps(["a"] * 100))))
        too_many = run_steps(spec, by_name(wrote("split", shards=json.dumps(["a"] * 101))))

        assert (len(at_most.instances["train"]), at_most.problems) == (100, {})
        assert too_many.problems == {
            "train": "With its 101 items the run would have more than 1000 instances of steps; make several runs."
        }
        assert len(too_many.instances["few"]) == 900

    def test_a_step_with_for_each_comes_after_its_instances_in_the_order(self):
        spec = run_spec(step("after", dependsOn=["train"]), for_each(), **{"finally": [step("last")]})

        assert run_steps(spec).order == ("train-0", "train-1", "train", "after", "last")

    def test_instances_of_finally_are_of_finally(self):
        steps = run_steps(run_spec(step("a"), **{"finally": [for_each()]}))

        assert (steps.main, steps.at_the_end) == (("a",), ("train-0", "train-1"))

    def test_an_instance_needs_and_uses_what_its_step_does(self):
        steps = run_steps(FROM_RESULT, by_name(wrote("split", shards='["a"]')))

        assert (steps.needs("train-0"), steps.uses("train-0")) == ({"split"}, {"split"})


class TestItemsOfAnotherForEach:
    SPEC = run_spec(
        for_each(outputs=outputs(results=["score"])),
        step("check", forEach={"itemsFrom": "steps.train.results.score"}),
    )

    def test_they_are_its_results_in_the_order_of_its_items(self):
        recorded = by_name(wrote("train-1", score="0.2"), wrote("train-0", score="0.1"))

        assert items_of(run_steps(self.SPEC, recorded), "check") == [("0.1", 0), ("0.2", 1)]

    @pytest.mark.parametrize("other", [(), (step_status("train-1", "Running"),), (step_status("train-1", "Failed"),)])
    def test_they_are_not_known_before_all_its_instances_have_succeeded(self, other: tuple[StepStatus, ...]):
        steps = run_steps(self.SPEC, by_name(wrote("train-0", score="0.1"), *other))

        assert list(steps.by_name) == ["train-0", "train-1", "check"]

    def test_there_are_none_where_it_had_none(self):
        spec = run_spec(for_each(0, outputs=outputs(results=["score"])), self.SPEC.steps[1])
        recorded = by_name(step_status("train", "Succeeded", reason="NoItems"))

        assert set(run_steps(spec, recorded).without_items) == {"train", "check"}


class TestTheSameObject:
    def test_it_is_returned_while_nothing_new_is_known(self):
        maker = InstanceMaker(StepGraph(FROM_RESULT))

        assert maker.steps({}) is maker.steps(by_name(step_status("split", "Running")))

    def test_another_is_returned_once_items_become_known(self):
        maker = InstanceMaker(StepGraph(FROM_RESULT))
        before, recorded = maker.steps({}), by_name(wrote("split", shards='["a"]'))

        after = maker.steps(recorded)

        assert list(after.by_name) == ["split", "train-0"]
        assert after is not before
        assert after is maker.steps({**recorded, **states(**{"train-0": "Running"})})

    @pytest.mark.parametrize("value", ["[]", "no list"])
    def test_another_is_returned_once_it_is_known_that_there_are_none(self, value: str):
        maker = InstanceMaker(StepGraph(FROM_RESULT))
        before = maker.steps({})

        assert maker.steps(by_name(wrote("split", shards=value))) is not before


class TestStandIns:
    def test_each_step_with_for_each_has_one_item(self):
        spec = run_spec(SPLIT, FROM_RESULT.steps[1], step("b", forEach={"items": ["x", "y"]}))

        steps = InstanceMaker(StepGraph(spec)).stand_ins()

        assert list(steps.by_name) == ["split", "train-0", "b-0"]
        assert items_of(steps, "b") == [("x", 0)]


class TestGathered:
    @pytest.mark.parametrize(
        ("of_instances", "together"),
        [
            (("Succeeded", "Succeeded"), "Succeeded"),
            (("Succeeded", "Running"), "Pending"),
            (("Failed", "Running"), "Pending"),
            (("Failed", "Retrying"), "Pending"),
            (("Succeeded", "Failed"), "Failed"),
            (("Cancelled", "Failed"), "Failed"),
            (("Succeeded", "Cancelled"), "Cancelled"),
        ],
    )
    def test_instances_have_one_state_together(self, of_instances: tuple[str, str], together: str):
        first, second = of_instances

        found = gathered(run_steps(run_spec(for_each())), "train", states(**{"train-0": first, "train-1": second}))

        assert (found.name, found.state) == ("train", together)

    @pytest.mark.parametrize(
        ("reasons", "state", "reason"),
        [
            ((None, "WhenFalse"), "Succeeded", None),
            (("WhenFalse", "WhenFalse"), "Skipped", "WhenFalse"),
            (("DependencySkipped", "DependencySkipped"), "Skipped", "DependencySkipped"),
            ((None, "FailurePolicy"), "Skipped", "FailurePolicy"),
            (("WhenFalse", "DependencyFailed"), "Skipped", "DependencyFailed"),
        ],
    )
    def test_instances_that_were_skipped_on_purpose_do_not_count_unless_all_were(
        self, reasons: tuple[str | None, ...], state: str, reason: str | None
    ):
        found = {
            f"train-{index}": step_status(f"train-{index}", "Skipped" if why else "Succeeded", reason=why)
            for index, why in enumerate(reasons)
        }

        together = gathered(run_steps(run_spec(for_each())), "train", found)

        assert (together.state, together.reason) == (state, reason)


class TestResults:
    SPEC = run_spec(for_each(11, outputs=outputs(results=["score"])))

    def results(self, spec: RunSpec, recorded: Mapping[str, StepStatus]) -> Mapping[tuple[str, str], str]:
        return results_by_step(run_steps(spec, recorded), recorded)

    def test_those_of_instances_are_a_list_in_the_order_of_the_items(self):
        recorded = by_name(*(wrote(f"train-{index}", score=str(index)) for index in reversed(range(11))))

        assert json.loads(self.results(self.SPEC, recorded)["train", "score"]) == [str(index) for index in range(11)]

    def test_that_of_an_instance_that_was_skipped_is_null(self):
        spec = run_spec(for_each(outputs=outputs(results=["score"])))
        recorded = by_name(step_status("train-0", "Skipped", reason="WhenFalse"), wrote("train-1", score="é"))

        assert self.results(spec, recorded) == {("train", "score"): '[null,"é"]'}

    def test_those_for_no_items_are_an_empty_list(self):
        spec = run_spec(for_each(0, outputs=outputs(results=["score"])))

        assert self.results(spec, by_name(step_status("train", "Succeeded", reason="NoItems"))) == {
            ("train", "score"): "[]"
        }

    def test_a_step_that_has_not_succeeded_has_none(self):
        spec = run_spec(SPLIT, for_each(outputs=outputs(results=["score"])))
        recorded = by_name(
            step_status("split", "Failed"), wrote("train-0", score="1"), step_status("train-1", "Running")
        )

        assert self.results(spec, recorded) == {}


class TestArtifacts:
    def places(self, spec: RunSpec, recorded: Mapping[str, StepStatus]) -> dict[tuple[str, str], dict[str, str]]:
        found = artifacts_by_step(run_steps(spec, recorded), recorded)
        return {key: {place: artifact.uri for place, artifact in items.items()} for key, items in found.items()}

    def test_that_of_a_plain_step_is_the_input_itself(self):
        spec = run_spec(step("load", outputs=outputs("data")))

        assert self.places(spec, by_name(kept("load", "data"))) == {("load", "data"): {"": "s3://b/load/data"}}

    def test_those_of_instances_lie_under_their_index_those_skipped_left_out(self):
        recorded = by_name(
            kept("train-0", "model"), step_status("train-1", "Skipped", reason="WhenFalse"), kept("train-2", "model")
        )

        places = self.places(run_spec(for_each(3, outputs=outputs("model"))), recorded)

        assert places["train", "model"] == {"0": "s3://b/train-0/model", "2": "s3://b/train-2/model"}

    def test_for_no_items_there_are_none_which_is_not_the_same_as_no_output(self):
        spec = run_spec(for_each(0, outputs=outputs("model")))

        assert self.places(spec, by_name(step_status("train", "Succeeded", reason="NoItems"))) == {
            ("train", "model"): {}
        }

    def test_what_has_not_succeeded_has_none(self):
        assert self.places(run_spec(step("load", outputs=outputs("data"))), states(load="Failed")) == {}


class TestParsing:
    @given(st.lists(st.text(max_size=256)))
    def test_a_list_of_strings_is_read_as_it_was_written(self, items: list[str]):
        assert parse_items("params.x", json.dumps(items)) == tuple(items)

    def test_what_is_not_a_string_is_json_text(self):
        assert parse_items("params.x", '[1, 1.5, true, null, {"a": ["é"]}]') == (
            "1",
            "1.5",
            "true",
            "null",
            '{"a":["é"]}',
        )

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("a, b", 'params.x is not JSON; write a JSON list, such as ["a", "b"].'),
            ("", 'params.x is not JSON; write a JSON list, such as ["a", "b"].'),
            ("[" * 100_000, 'params.x is not JSON; write a JSON list, such as ["a", "b"].'),
            (
                json.dumps(["ok", "x" * 257]),
                "params.x holds an item of 257 characters; one may have 256: keep it as an artifact.",
            ),
        ],
    )
    def test_what_is_wrong_is_a_sentence(self, text: str, sentence: str):
        assert parse_items("params.x", text) == sentence

    def test_any_nesting_is_items_or_a_sentence(self):
        for depth in range(900, 1000):
            assert parse_items("params.x", "[" * depth + "]" * depth)

    def test_an_item_that_is_not_valid_unicode_is_refused(self):
        found = parse_items("params.x", r'["\ud800"]')

        assert isinstance(found, str)


class TestWhatIsRecorded:
    SPEC = run_spec(
        step("a", forEach={"items": ["x", "y"]}, when="item.index == 0", outputs=outputs(results=["r"])),
        step("b", forEach={"itemsFrom": "steps.a.results.r"}),
    )

    def test_an_instance_that_was_skipped_gives_no_item(self):
        recorded = by_name(wrote("a-0", r="1"), step_status("a-1", "Skipped", reason="WhenFalse"))

        assert run_steps(self.SPEC, recorded).instances["b"] == ("b-0",)

    def test_what_has_ended_does_not_begin_anew_when_its_items_become_known(self):
        recorded = by_name(
            wrote("a-0", r="1"), wrote("a-1", r="2"), step_status("b", "Skipped", reason="DependencyFailed")
        )

        assert list(run_steps(self.SPEC, recorded).by_name) == ["a-0", "a-1", "b"]


def test_a_run_keeps_no_more_artifacts_than_its_status_can_hold():
    each = [
        step(name, outputs=outputs(*(f"o{index}" for index in range(10))), forEach={"items": ["x"] * 126})
        for name in ("a", "b")
    ]

    assert run_steps(run_spec(*each)).problems == {
        "b": "With its 126 items the run would keep more than 2500 artifacts; keep directories, or make several runs."
    }


def test_instances_that_are_recorded_keep_their_room_when_other_items_become_known():
    spec = run_spec(
        step("split", outputs=outputs(results=["shards"])),
        step("a", forEach={"itemsFrom": "steps.split.results.shards"}),
        step("b", forEach={"items": ["x"] * 601}),
    )
    begun = (step_status(f"b-{index}", "Running", attempts=1) for index in range(601))

    steps = run_steps(spec, by_name(wrote("split", shards=str([0] * 400)), *begun))

    assert len(steps.instances["b"]) == 601
    assert list(steps.problems) == ["a"]
