from __future__ import annotations

from typing import Any

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.step import Step
from cairn.runs.validation import problems_of
from tests.unit.builders import inputs, kubernetes_stack, outputs, run_spec, step, template

EVAL = step("eval", outputs=outputs("model", results=["rmse"]))
NOTIFY = step("notify", outputs=outputs("log", results=["id"]))


def with_finally(*last: Step, steps: tuple[Step, ...] = (EVAL,), **fields: Any) -> RunSpec:
    return run_spec(*steps, **fields, **{"finally": list(last)})


def problems(spec: RunSpec) -> list[tuple[str, str]]:
    return [(problem.field, problem.message) for problem in problems_of(spec, kubernetes_stack())]


def from_parameter(value: str) -> RunSpec:
    train = step("train", forEach={"itemsFrom": "params.regions"})
    return run_spec(train, parameters=[{"name": "regions", "value": value}])


def test_a_good_run_has_no_problem():
    spec = with_finally(
        step("tidy", when="run.state == 'Failed'", inputs=inputs(model="eval.model")),
        step("tell", dependsOn=["tidy"], args=["$(steps.eval.results.rmse)"]),
        step("each", forEach={"itemsFrom": "steps.eval.results.rmse"}, args=["$(item.value)"]),
        steps=(
            EVAL,
            step("train", forEach={"items": ["a"]}, args=["$(item.value) $(item.index)"], when="item.index > 0"),
            step("report", dependsOn=["train"], when="steps.train.state == 'Succeeded'"),
            step("many", forEach={"itemsFrom": "params.regions"}),
        ),
        parameters=[{"name": "regions", "value": '["eu"]'}],
    )

    assert problems(spec) == []


def test_a_step_of_finally_may_not_be_cached():
    assert problems(with_finally(step("tell", cache={}))) == [
        ("spec.finally[tell].cache", "steps of finally always run; remove it")
    ]


class TestNames:
    def test_finally_may_not_have_a_step_s_name(self):
        (problem,) = problems(with_finally(step("eval")))

        assert problem == ("spec.finally[eval]", "there is a step of that name in spec.steps; rename one of them")

    @pytest.mark.parametrize("name", ["train-0", "train-7", "train-12", "train-1000"])
    def test_no_step_may_have_the_name_of_an_instance(self, name: str):
        (problem,) = problems(run_spec(step("train", forEach={"items": ["a"]}), step(name)))

        assert problem == (
            f"spec.steps[{name}]",
            "has the name of an instance of train, which has forEach; rename one of them",
        )

    def test_neither_may_one_of_finally(self):
        (field, _), *others = problems(with_finally(step("train-0"), steps=(step("train", forEach={"items": []}),)))

        assert (field, others) == ("spec.finally[train-0]", [])

    @pytest.mark.parametrize("name", ["train-00", "train-01", "train-x", "train0", "retrain-0", "train-0-0"])
    def test_what_no_instance_can_have_is_a_name(self, name: str):
        assert problems(run_spec(step("train", forEach={"items": ["a"]}), step(name))) == []

    def test_a_number_behind_the_name_of_a_step_without_for_each_is_a_name(self):
        assert problems(run_spec(step("train"), step("train-0"))) == []


class TestItems:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("eu, us", 'params.regions is not JSON; write a JSON list, such as ["a", "b"].'),
            (
                f'["{"x" * 257}"]',
                "params.regions holds an item of 257 characters; one may have 256: keep it as an artifact.",
            ),
        ],
    )
    def test_a_parameter_s_items_are_read_before_the_run_starts(self, value: str, message: str):
        assert problems(from_parameter(value)) == [("spec.steps[train].forEach.itemsFrom", message)]

    @pytest.mark.parametrize("value", ["{}", '"eu"', "3", "null"])
    def test_a_parameter_that_is_no_list_is_refused(self, value: str):
        ((field, message),) = problems(from_parameter(value))

        assert field == "spec.steps[train].forEach.itemsFrom"
        assert message.endswith('not a list; write a JSON list, such as ["a", "b"].')

    @pytest.mark.parametrize(("value", "kind"), [("{}", "object"), ('"eu"', "string"), ("null", "null")])
    def test_what_it_is_instead_of_a_list_is_said_in_json_s_words(self, value: str, kind: str):
        ((_, message),) = problems(from_parameter(value))

        assert kind in message

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("params.regions", "params.regions: the run has no parameter regions"),
            ("steps.split.results.shards", "steps.split.results.shards: there is no step split"),
            ("steps.eval.results.shards", "steps.eval.results.shards: step eval declares no result shards"),
        ],
    )
    def test_where_they_come_from_must_be_there(self, source: str, message: str):
        spec = run_spec(EVAL, step("train", forEach={"itemsFrom": source}))

        assert problems(spec) == [("spec.steps[train].forEach.itemsFrom", message)]

    def test_they_cannot_come_from_the_step_itself(self):
        spec = run_spec(step("a", forEach={"itemsFrom": "steps.a.results.r"}, outputs=outputs(results=["r"])))

        ((field, message),) = problems(spec)

        assert field == "spec.steps"
        assert message.startswith("these steps wait for each other: a -> a")

    def test_all_steps_together_may_have_so_many_instances(self):
        def spec_of(count: int) -> RunSpec:
            return with_finally(
                step("tell", forEach={"itemsFrom": "params.regions"}),
                steps=(step("train", forEach={"items": ["a"] * (count - 1)}),),
                parameters=[{"name": "regions", "value": '["eu"]'}],
            )

        assert problems(spec_of(1000)) == []
        assert problems(spec_of(1001)) == [
            ("spec.steps", "forEach makes 1001 instances of steps; a run may have 1000: make several runs")
        ]


class TestItemReferences:
    @pytest.mark.parametrize("name", ["value", "index"])
    @pytest.mark.parametrize(
        ("field", "fields"),
        [
            ("args[0]", {"args": ["$(item.{})"]}),
            ("command[0]", {"command": ["$(item.{})"]}),
            ("env[X]", {"env": [{"name": "X", "value": "$(item.{})"}]}),
        ],
    )
    def test_only_a_step_with_for_each_has_an_item(self, field: str, fields: dict[str, Any], name: str):
        def filled(value: Any) -> Any:
            if isinstance(value, str):
                return value.replace("{}", name)
            if isinstance(value, dict):
                return {key: filled(item) for key, item in value.items()}
            return [filled(item) for item in value]

        found = problems(run_spec(step("a", **filled(fields))))

        message = f"$(item.{name}): only a step with forEach has an item; write $$( for a literal $("
        assert found == [(f"spec.steps[a].{field}", message)]

    def test_an_item_has_nothing_else(self):
        ((field, message),) = problems(run_spec(step("a", forEach={"items": ["x"]}, args=["$(item.name)"])))

        assert field == "spec.steps[a].args[0]"
        assert "item.value and item.index" in message

    def test_what_steps_share_has_no_item(self):
        shared = template(env=[{"name": "X", "value": "$(item.value)"}])

        found = problems(run_spec(step("a", forEach={"items": ["x"]}), podTemplate=shared))

        assert [field for field, _ in found] == ["spec.podTemplate.env[X]"]

    def test_an_escaped_one_is_a_text(self):
        assert problems(run_spec(step("a", args=["$$(item.value)"]))) == []


class TestWhen:
    def test_one_that_is_not_true_or_false_is_refused(self):
        spec = run_spec(step("a", when="params.mode"), parameters=[{"name": "mode", "value": "x"}])

        assert problems(spec) == [
            (
                "spec.steps[a].when",
                "its value is of type string; write an expression that is true or false; it is a CEL expression, such as "
                "params.mode == 'full'",
            )
        ]

    def test_a_step_that_does_not_come_before_can_be_made_to(self):
        spec = run_spec(EVAL, step("a", when="steps.eval.state == 'Succeeded'"))

        assert problems(spec) == [
            (
                "spec.steps[a].when",
                "undeclared reference to 'steps.eval.state'; it sees only steps that come before it: add eval to "
                "dependsOn",
            )
        ]

    def test_a_step_is_named_in_the_hint_as_it_is_written(self):
        spec = run_spec(step("load-data"), step("a", when="steps.load_data.state == 'Succeeded'"))

        ((_, message),) = problems(spec)

        assert message.endswith("add load-data to dependsOn")

    def test_a_result_that_is_not_declared_is_told_with_those_that_are(self):
        spec = run_spec(EVAL, step("a", dependsOn=["eval"], when="steps.eval.results.mae == '1'"))

        ((_, message),) = problems(spec)

        assert message == (
            "undeclared reference to 'steps.eval.results.mae'; it sees params.<name> and, of steps, eval; "
            "eval declares: rmse"
        )

    def test_a_step_that_declares_no_results_is_said_to(self):
        spec = run_spec(step("b"), step("a", dependsOn=["b"], when="steps.b.results.mae == '1'"))

        ((_, message),) = problems(spec)

        assert message.endswith("b declares: no results")

    def test_a_step_that_nothing_comes_before_is_told_so(self):
        ((_, message),) = problems(run_spec(step("a", when="mode == 'full'")))

        assert message.endswith("it sees params.<name> and no step, since none comes before it")

    def test_finally_is_looked_at_too(self):
        ((field, message),) = problems(with_finally(step("tell", when="run.status == 'Failed'")))

        assert field == "spec.finally[tell].when"
        assert message.startswith("undeclared reference to 'run.status'")

    def test_results_that_it_could_not_tell_apart_are_refused(self):
        spec = run_spec(step("b", outputs=outputs(results=["r-1", "r_1"])), step("a", when="true"))

        message = "r-1 and r_1 are both r_1 to when; rename one of them"
        assert problems(spec) == [("spec.steps[b].outputs.results", message)]

    def test_it_is_looked_at_once_everything_else_is_well(self):
        spec = run_spec(step("a", dependsOn=["b"], when="params.mode"))

        assert [field for field, _ in problems(spec)] == ["spec.steps[a].dependsOn"]

    @pytest.mark.parametrize(
        "spec",
        [
            with_finally(NOTIFY, steps=(step("a", when="steps.notify.state == 'Failed'"),)),
            run_spec(step("a", when="steps.a.state == 'Failed'")),
            run_spec(step("a", when="steps.b.state == 'Failed'"), step("b", dependsOn=["a"])),
        ],
        ids=["one of finally", "itself", "one that comes after it"],
    )
    def test_no_hint_leads_to_another_problem(self, spec: RunSpec):
        ((_, message),) = problems(spec)

        assert "to dependsOn" not in message

    @pytest.mark.parametrize(("when", "hint"), [("run.state == 'Failed'", "finally"), ("item.value == 'x'", "forEach")])
    def test_what_others_see_is_said_to_be_theirs(self, when: str, hint: str):
        ((_, message),) = problems(run_spec(step("a", when=when)))

        assert hint in message


class TestFinally:
    def test_it_cannot_depend_on_a_step_for_which_it_waits_anyway(self):
        found = problems(with_finally(step("tell", dependsOn=["eval"])))

        message = "finally runs when all steps have ended anyway; leave eval out, and use when to ask how it ended"
        assert found == [("spec.finally[tell].dependsOn", message)]

    def test_it_cannot_depend_on_what_is_not_there(self):
        found = problems(with_finally(step("tell", dependsOn=["tydi"]), step("tidy")))

        assert found == [("spec.finally[tell].dependsOn", "there is no step tydi; name one of: tidy")]

    def test_its_steps_cannot_wait_for_each_other(self):
        ((field, message),) = problems(with_finally(step("a", dependsOn=["b"]), step("b", dependsOn=["a"])))

        assert field == "spec.finally"
        assert message.startswith("these steps wait for each other: ")

    def test_it_uses_what_is_there(self):
        found = problems(with_finally(step("a", inputs=inputs(x="eval.data")), step("b", args=["$(params.x)"])))

        assert found == [
            (
                "spec.finally[a].inputs.artifacts[x].from",
                "step eval has no output artifact data; it declares: model",
            ),
            ("spec.finally[b].args[0]", "$(params.x): the run has no parameter x; write $$( for a literal $("),
        ]

    def test_no_other_step_can_depend_on_it(self):
        found = problems(with_finally(NOTIFY, steps=(step("a", dependsOn=["notify"]),)))

        message = "step notify is one of finally, which run when all others have ended; leave it out"
        assert found == [("spec.steps[a].dependsOn", message)]

    @pytest.mark.parametrize(
        ("field", "fields"),
        [
            ("inputs.artifacts[x].from", {"inputs": inputs(x="notify.log")}),
            ("args[0]", {"args": ["$(steps.notify.results.id)"]}),
            ("forEach.itemsFrom", {"forEach": {"itemsFrom": "steps.notify.results.id"}}),
        ],
    )
    def test_no_other_step_can_use_what_it_makes(self, field: str, fields: dict[str, Any]):
        found = problems(with_finally(NOTIFY, steps=(step("a", **fields),)))

        assert [found_field for found_field, _ in found] == [f"spec.steps[a].{field}"]

    def test_one_that_uses_what_it_makes_is_told_why_not(self):
        ((_, message),) = problems(with_finally(NOTIFY, steps=(step("a", inputs=inputs(x="notify.log")),)))

        assert "finally" in message


def test_artifacts_of_instances_count_before_the_run_starts():
    each = step("each", forEach={"items": ["x"] * 900}, outputs=outputs("a", "b", "c"))

    told = [str(problem) for problem in problems_of(run_spec(each), kubernetes_stack())]

    assert told == ["spec.steps: 2700 artifacts are declared; a run may keep 2500: keep directories"]


def test_a_name_within_quotes_is_no_name():
    spec = run_spec(step("my-step"), step("b", when="'my-step' == nope", dependsOn=["my-step"]))

    (problem,) = problems_of(spec, kubernetes_stack())

    assert "write _ for -" not in str(problem)
