from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.cel import Answer, CelError, evaluate
from cairn.runs.graph import StepGraph
from cairn.runs.when import check, question_of
from tests.unit.builders import outputs, run_spec, run_steps, states, step, step_status

PARAMETERS = [{"name": "mode", "value": "full"}, {"name": "learning-rate", "value": "0.1"}]
EVAL = step("eval", outputs=outputs(results=["rmse", "best-model"]))
SHARDS = step("shard", forEach={"items": ["x", "y"]}, outputs=outputs(results=["rmse"]))


def spec_of(when: str, *before: Step, **fields: Any) -> RunSpec:
    """Return a run whose step `asked` comes after some others and has that expression."""
    asked = step("asked", when=when, dependsOn=[one.name for one in before], **fields)
    return run_spec(*before, asked, parameters=PARAMETERS)


def problem_of(when: str, *before: Step, **fields: Any) -> str:
    with pytest.raises(CelError) as raised:
        check(StepGraph(spec_of(when, *before, **fields)), "asked")
    return str(raised.value)


def value_of(spec: RunSpec, recorded: Mapping[str, StepStatus], name: str = "asked") -> bool:
    return answer_of(spec, recorded, name).holds


def answer_of(spec: RunSpec, recorded: Mapping[str, StepStatus], name: str = "asked") -> Answer:
    steps = run_steps(spec, recorded)
    return evaluate(question_of(steps, steps.by_name[name], recorded))


def wrote(name: str, **results: str) -> StepStatus:
    return step_status(name, "Succeeded", results=[{"name": key, "value": value} for key, value in results.items()])


def skipped(name: str) -> StepStatus:
    return step_status(name, "Skipped", reason="WhenFalse")


class TestBeforeTheRunStarts:
    @pytest.mark.parametrize(
        "when",
        [
            "true",
            "params.mode == 'full' && steps.eval.state == 'Succeeded'",
            "double(steps.eval.results.rmse) < 0.5",
            "params.learning_rate == steps.eval.results.best_model",
        ],
    )
    def test_what_is_true_or_false_of_things_that_it_sees_is_an_expression(self, when: str):
        check(StepGraph(spec_of(when, EVAL)), "asked")

    def test_nothing_can_be_made_that_fills_the_memory(self):
        doubled = "[params.mode]" + ".map(a, a + a)" * 20

        assert "undeclared reference to 'a'" in problem_of(f"{doubled} == ['x']")

    def test_a_step_without_an_expression_has_no_problem(self):
        check(StepGraph(run_spec(step("asked"))), "asked")

    @pytest.mark.parametrize(
        ("when", "problem"),
        [
            ("steps.eval.results.rmse < 0.5", "found no matching overload for '_<_' applied to '(string, double)'"),
            ("params.mode == 1", "found no matching overload for '_==_' applied to '(string, int)'"),
            ("params.mode", "its value is of type string; write an expression that is true or false"),
            ("[params.mode]", "its value is of type list<string>; write an expression that is true or false"),
        ],
    )
    def test_types_are_checked(self, when: str, problem: str):
        assert problem_of(when, EVAL) == problem

    @pytest.mark.parametrize(
        ("when", "name"),
        [
            ("params.mod == 'full'", "params.mod"),
            ("steps.eva.state == 'Failed'", "steps.eva.state"),
            ("steps.eval.results.mae == '1'", "steps.eval.results.mae"),
            ("run.state == 'Failed'", "run.state"),
            ("item.value == 'x'", "item.value"),
        ],
    )
    def test_what_it_does_not_see_is_named(self, when: str, name: str):
        assert problem_of(when, EVAL) == f"undeclared reference to '{name}'"

    def test_a_step_that_does_not_come_before_is_not_seen(self):
        spec = run_spec(EVAL, step("asked", when="steps.eval.state == 'Succeeded'"))

        with pytest.raises(CelError, match=r"undeclared reference to 'steps\.eval\.state'"):
            check(StepGraph(spec), "asked")

    def test_a_step_that_comes_before_one_that_it_needs_is_seen(self):
        spec = run_spec(
            EVAL,
            step("between", dependsOn=["eval"]),
            step("asked", dependsOn=["between"], when="steps.eval.results.rmse == '1'"),
        )

        check(StepGraph(spec), "asked")

    def test_results_of_a_step_with_for_each_are_a_list(self):
        check(StepGraph(spec_of("steps.shard.results.rmse.exists(r, r == '1')", SHARDS)), "asked")

        assert "(list(dyn), string)" in problem_of("steps.shard.results.rmse == '1'", SHARDS)

    def test_the_item_is_seen_by_a_step_with_for_each(self):
        spec = spec_of("item.value == 'x' || item.index > 1", forEach={"items": ["x"]})

        check(StepGraph(spec), "asked")

    @pytest.mark.parametrize("when", ["params.mode ==", "(" * 200 + "true" + ")" * 200, "params.mode == 'full"])
    def test_a_problem_is_one_line_without_the_library_s_own_words(self, when: str):
        problem = problem_of(when)

        assert "\n" not in problem
        assert not any(words in problem for words in ("INVALID_ARGUMENT", "CANCELLED", "ERROR", "<input>"))

    @pytest.mark.parametrize(("name", "written"), [("2nd", "_2nd"), ("in", "_in"), ("true", "_true"), ("if", "if")])
    def test_what_cel_cannot_read_as_a_name_has_an_underscore_before_it(self, name: str, written: str):
        spec = spec_of(f"steps.{written}.state == 'Skipped'", step(name))

        assert value_of(spec, {name: skipped(name)})


class TestWhatItSees:
    def test_parameters(self):
        assert value_of(spec_of("params.mode == 'full'"), {})
        assert not value_of(spec_of("params.mode == 'quick'"), {})

    @pytest.mark.parametrize("state", ["Succeeded", "Skipped"])
    def test_states(self, state: str):
        assert value_of(spec_of(f"steps.eval.state == '{state}'", EVAL), states(eval=state))

    def test_results(self):
        recorded = {"eval": wrote("eval", rmse="0.3")}

        assert value_of(spec_of("double(steps.eval.results.rmse) < 0.5", EVAL), recorded)
        assert not value_of(spec_of("double(steps.eval.results.rmse) < 0.1", EVAL), recorded)

    def test_names_with_a_dash_are_written_with_an_underscore(self):
        before = step("load-data", outputs=outputs(results=["row-count"]))
        spec = spec_of("params.learning_rate == '0.1' && steps.load_data.results.row_count == '7'", before)

        assert value_of(spec, {"load-data": wrote("load-data", **{"row-count": "7"})})

    @pytest.mark.parametrize(
        ("when", "expected"),
        [("item.value == 'x'", [True, False]), ("item.index == 1", [False, True])],
    )
    def test_each_instance_sees_its_own_item(self, when: str, expected: list[bool]):
        spec = spec_of(when, forEach={"items": ["x", "y"]})

        assert [value_of(spec, {}, name) for name in ("asked-0", "asked-1")] == expected

    def test_results_of_a_step_with_for_each_in_the_order_of_the_items(self):
        recorded = {"shard-0": wrote("shard-0", rmse="0.9"), "shard-1": wrote("shard-1", rmse="0.1")}

        assert value_of(spec_of("steps.shard.results.rmse == ['0.9', '0.1']", SHARDS), recorded)

    def test_the_result_of_an_instance_that_was_skipped_is_null(self):
        recorded = {"shard-0": skipped("shard-0"), "shard-1": wrote("shard-1", rmse="0.1")}

        assert value_of(spec_of("steps.shard.results.rmse == [null, '0.1']", SHARDS), recorded)

    def test_results_for_no_items_are_an_empty_list(self):
        shards = step("shard", forEach={"items": []}, outputs=outputs(results=["rmse"]))
        spec = spec_of("size(steps.shard.results.rmse) == 0", shards)

        assert value_of(spec, {"shard": step_status("shard", "Succeeded", reason="NoItems")})

    def test_instances_have_one_state_together(self):
        recorded = {"shard-0": skipped("shard-0"), "shard-1": wrote("shard-1", rmse="0.1")}

        assert value_of(spec_of("steps.shard.state == 'Succeeded'", SHARDS), recorded)


class TestFinally:
    @pytest.mark.parametrize(
        ("b", "cancel", "state"),
        [
            (step_status("b", "Skipped", reason="WhenFalse"), None, "Succeeded"),
            (step_status("b", "Failed", reason="ExitCode"), None, "Failed"),
            (step_status("b", "Cancelled", reason="Cancelled"), "Graceful", "Cancelled"),
            (step_status("b", "Cancelled", reason="RunTimedOut"), None, "TimedOut"),
        ],
    )
    def test_it_sees_what_the_other_steps_amount_to(self, b: StepStatus, cancel: str | None, state: str):
        asked = step("asked", when=f"run.state == '{state}'")
        spec = run_spec(step("a"), step("b"), cancel=cancel, **{"finally": [asked]})

        assert value_of(spec, {**states(a="Succeeded"), "b": b})

    def test_a_run_whose_failure_stopped_other_steps_has_failed(self):
        spec = run_spec(
            step("a"),
            step("b"),
            failurePolicy="FailFast",
            **{"finally": [step("asked", when="run.state == 'Failed'")]},
        )
        recorded = {"a": step_status("a", "Failed"), "b": step_status("b", "Cancelled", reason="FailurePolicy")}

        assert value_of(spec, recorded)

    def test_it_sees_all_steps_though_it_needs_none(self):
        spec = run_spec(step("a"), step("b"), **{"finally": [step("asked", when="steps.a.state != steps.b.state")]})

        assert value_of(spec, states(a="Succeeded", b="Failed"))

    def test_it_does_not_count_its_own_steps_into_the_run_s_state(self):
        last = [step("first"), step("asked", dependsOn=["first"], when="run.state == 'Succeeded'")]

        assert value_of(run_spec(step("a"), **{"finally": last}), states(a="Succeeded", first="Failed"))


class TestWhatCannotBeEvaluated:
    @pytest.mark.parametrize(
        ("when", "problem"),
        [
            ("double(params.mode) < 0.5", "cannot convert string to double"),
            ("1 / int(params.learning_rate.size() - 3) == 1", "divide by zero"),
            ("params.mode.matches('[')", "invalid regular expression: missing ]: ["),
        ],
    )
    def test_it_says_why(self, when: str, problem: str):
        assert answer_of(spec_of(when), {}).problem == problem

    def test_a_result_that_was_not_written_is_named(self):
        spec = spec_of("steps.eval.results.best_model == 'a'", EVAL)

        assert (
            answer_of(spec, {"eval": skipped("eval")}).problem
            == "steps.eval.results.best_model has no value, since that step did not succeed; "
            "ask for its state first"
        )

    @pytest.mark.parametrize(
        "when",
        [
            "steps.eval.state == 'Skipped' || steps.eval.results.rmse == '1'",
            "steps.eval.results.rmse == '1' || steps.eval.state == 'Skipped'",
            "steps.eval.state == 'Succeeded' ? steps.eval.results.rmse == '1' : true",
        ],
    )
    def test_a_result_that_was_not_written_matters_only_where_the_rest_does_not_decide(self, when: str):
        assert value_of(spec_of(when, EVAL), {"eval": skipped("eval")})

    @pytest.mark.parametrize("when", ["dyn(1)", "dyn(params.mode)", "dyn(null)"])
    def test_what_turns_out_to_be_neither_true_nor_false_is_not_taken_for_either(self, when: str):
        assert answer_of(spec_of(when), {}).problem is not None

    def test_what_turns_out_to_be_neither_true_nor_false_is_said_to_be_so(self):
        assert "true or false" in str(answer_of(spec_of("dyn(1)"), {}).problem)

    def test_one_that_would_take_forever_is_given_up(self):
        digits = "[0,1,2,3,4,5,6,7,8,9]"
        when = "".join(f"{digits}.all({name}," for name in "abcdefghij") + "true" + ")" * 10

        assert answer_of(spec_of(when), {}).problem == "Iteration budget exceeded"
