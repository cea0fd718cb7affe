from __future__ import annotations

from typing import Any

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.runs.graph import StepGraph
from cairn.runs.items import InstanceMaker
from cairn.runs.rerun import problem_of, taken_over
from tests.unit.builders import inputs, outputs, run_spec, step, step_status

LOAD = step("load", outputs=outputs("data", results=["shards"]))
TRAIN = step("train", inputs=inputs(data="load.data"))
REPORT = step("report", dependsOn=["train"])
FREE = step("free")
FIRST = run_spec(LOAD, TRAIN, REPORT, FREE)
DATA = {"name": "data", "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 7}


def again(*steps: Any, from_: str = "Failed", **fields: Any) -> RunSpec:
    return run_spec(*(steps or FIRST.steps), rerunOf={"name": "wine-0", "from": from_}, **fields)


def succeeded(name: str, **fields: Any) -> StepStatus:
    return step_status(name, "Succeeded", **{"attempts": 1, **fields})


def taken(spec: RunSpec, *ended: StepStatus, first: RunSpec = FIRST) -> dict[str, StepStatus]:
    makers = InstanceMaker(StepGraph(spec)), InstanceMaker(StepGraph(first))
    return dict(taken_over(*makers, PipelineRunStatus(steps=ended)))


class TestWhatIsTakenOver:
    def test_what_succeeded_is_and_the_rest_runs(self):
        ended = (succeeded("load"), step_status("train", "Failed"), succeeded("free"))

        assert set(taken(again(), *ended)) == {"load", "free"}

    def test_with_its_artifacts_and_results_and_without_its_attempts(self):
        result = {"name": "shards", "value": "[]"}

        assert taken(again(), succeeded("load", artifacts=[DATA], results=[result], jobName="x")) == {
            "load": step_status(
                "load",
                "Succeeded",
                reason="TakenOver",
                message="It was taken over from run wine-0.",
                artifacts=[DATA],
                results=[result],
            )
        }

    def test_from_a_step_that_one_and_what_needs_it_run_again(self):
        ended = [succeeded(one.name) for one in FIRST.steps]

        assert set(taken(again(from_="train"), *ended)) == {"load", "free"}

    @pytest.mark.parametrize("field", [{"image": "other:2"}, {"args": ["x"]}, {"outputs": outputs("model")}])
    def test_a_step_that_is_written_otherwise_runs_again_and_so_does_what_needs_it(self, field: dict[str, Any]):
        train = step("train", **{"inputs": inputs(data="load.data"), **field})
        ended = [succeeded(one.name) for one in FIRST.steps]

        assert set(taken(again(LOAD, train, REPORT, FREE), *ended)) == {"load", "free"}

    @pytest.mark.parametrize(
        "field", [{"retry": {"limit": 3}}, {"timeoutSeconds": 9}, {"resources": {"limits": {"memory": "2Gi"}}}]
    )
    def test_how_a_step_runs_makes_no_difference(self, field: dict[str, Any]):
        free = step("free", **field)

        assert set(taken(again(LOAD, TRAIN, REPORT, free), succeeded("free"))) == {"free"}

    def test_a_new_step_runs(self):
        assert taken(again(*FIRST.steps, step("new")), succeeded("load")).keys() == {"load"}

    def test_what_succeeded_in_spite_of_what_it_needs_runs_again_with_it(self):
        assert taken(again(), step_status("load", "Failed"), succeeded("train")) == {}

    def test_a_step_that_now_needs_what_was_skipped_for_a_failure_runs_again(self):
        first = run_spec(step("f"), step("b", dependsOn=["f"]), step("a"))
        spec = again(step("f"), step("b", dependsOn=["f"]), step("a", dependsOn=["b"]))
        skipped = step_status("b", "Skipped", reason="DependencyFailed")

        assert taken(spec, step_status("f", "Failed"), skipped, succeeded("a"), first=first) == {}

    @pytest.mark.parametrize("where", ["env", "podTemplate"])
    def test_other_variables_make_a_step_run_again(self, where: str):
        env = [{"name": "X", "value": "2"}]
        free = step("free", **({"env": env} if where == "env" else {"podTemplate": {"env": env}}))

        assert taken(again(LOAD, TRAIN, REPORT, free), succeeded("free")) == {}

    def test_steps_of_finally_always_run(self):
        last: dict[str, Any] = {"finally": [step("tell")]}
        spec = again(LOAD, **last)

        assert set(taken(spec, succeeded("load"), succeeded("tell"), first=run_spec(LOAD, **last))) == {"load"}


class TestInstances:
    STEPS = (
        LOAD,
        step("each", forEach={"itemsFrom": "steps.load.results.shards"}, outputs=outputs("part")),
        step("gather", inputs=inputs(parts="each.part")),
    )
    FIRST = run_spec(*STEPS)
    LOADED = succeeded("load", results=[{"name": "shards", "value": '["a","b"]'}])

    def test_those_that_succeeded_are_taken_over_one_by_one(self):
        ended = (self.LOADED, succeeded("each-0", item="a"), step_status("each-1", "Failed", item="b"))

        assert set(taken(again(*self.STEPS), *ended, first=self.FIRST)) == {"load", "each-0"}

    def test_what_gathers_them_is_when_all_are(self):
        each = (succeeded("each-0", item="a"), succeeded("each-1", item="b"))

        spec = again(*self.STEPS)

        assert set(taken(spec, self.LOADED, *each, succeeded("gather"), first=self.FIRST)) == {
            "load", "each-0", "each-1", "gather",
        }  # fmt: skip

    def test_an_instance_that_was_skipped_holds_back_nothing(self):
        each = (succeeded("each-0", item="a"), step_status("each-1", "Skipped", reason="WhenFalse"))

        spec = again(*self.STEPS)

        assert set(taken(spec, self.LOADED, *each, succeeded("gather"), first=self.FIRST)) == {
            "load", "each-0", "gather",
        }  # fmt: skip

    def test_from_names_the_step_as_it_is_written(self):
        ended = (self.LOADED, succeeded("each-0", item="a"), succeeded("each-1", item="b"))

        assert set(taken(again(*self.STEPS, from_="each"), *ended, first=self.FIRST)) == {"load"}

    def test_no_items_are_no_items_again(self):
        loaded = succeeded("load", results=[{"name": "shards", "value": "[]"}])
        none = step_status("each", "Succeeded", reason="NoItems")

        found = taken(again(*self.STEPS), loaded, none, succeeded("gather"), first=self.FIRST)

        assert found["each"] == none
        assert set(found) == {"load", "each", "gather"}


class TestProblems:
    def test_a_step_to_begin_with_must_be_there(self):
        problem = problem_of(again(from_="tune"), FIRST)

        assert str(problem) == (
            "spec.rerunOf.from: there is no step tune; say Failed, or name one of: load, train, report, free"
        )

    def test_the_parameters_must_be_the_same(self):
        problem = problem_of(again(parameters=[{"name": "x", "value": "2"}]), FIRST)

        assert str(problem) == (
            "spec.parameters: they are not those of run wine-0, whose steps are taken over; use the same"
        )

    def test_the_same_steps_and_parameters_are_no_problem(self):
        assert problem_of(again(from_="train"), FIRST) is None
