"""The inputs of tasks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.kfp.backend.ir import Component
from tests.kfp.backend.resolve import (
    Context,
    ResolveError,
    items_of,
    platform_values,
    root_inputs,
    task_inputs,
    turn_inputs,
)
from tests.kfp.backend.state import Artifact, Values
from tests.kfp.backend.task_spec import Task
from tests.kfp.backend.values import ConversionError
from tests.kfp.pipelines import Json, constant, output_of, parameters

DATA = Artifact(name="data", uri="s3://b/data")


def context(**outputs: Any) -> Context:
    """What a task sees of a DAG whose tasks have put out these parameters."""
    return Context(
        inputs=Values(parameters={"alpha": 0.5, "nothing": None}, artifacts={"data": [DATA]}),
        parameter=lambda source: outputs.get(source.output_parameter_key),
        artifact=lambda source: [Artifact(name="out", uri=f"s3://b/{source.producer_task}")],
        final_status=lambda _: "FAILED",
        run_id="r",
        run_name="my run",
        workflow="p-x",
        task="t",
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
    )


def resolved(source: Json, kind: str = "STRING", **outputs: Any) -> Any:
    """An input parameter of that type from there."""
    task = Task.model_validate({"inputs": {"parameters": {"x": source}}, "dependentTasks": ["a"]})
    component = Component.model_validate({"inputDefinitions": parameters(x=kind)})
    return task_inputs(task, component, context(**outputs)).parameters["x"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (0.5, "0.5"), (True, "true"), ([1, "a"], '[1,"a"]'), ({"b": 1, "a": "<"}, '{"a":"\\u003c","b":1}')],
)
def test_anything_becomes_a_string(value: Any, text: str) -> None:
    assert resolved(constant(value)) == text


def test_nothing_else_is_converted() -> None:
    with pytest.raises(ConversionError, match='input parameter "x" type mismatch: expect NUMBER_INTEGER, got string'):
        resolved(constant("7"), "NUMBER_INTEGER")


def test_an_input_of_the_dag_is_handed_on() -> None:
    assert resolved({"componentInputParameter": "alpha"}, "NUMBER_DOUBLE") == 0.5


def test_an_input_that_the_dag_does_not_have_is_an_error() -> None:
    with pytest.raises(ResolveError, match="parent DAG does not have input parameter beta"):
        resolved({"componentInputParameter": "beta"})


def test_an_input_that_is_null_is_an_error_unless_it_is_optional() -> None:
    source = {"componentInputParameter": "nothing"}
    component = Component.model_validate(
        {"inputDefinitions": {"parameters": {"x": {"parameterType": "STRING", "isOptional": True}}}}
    )
    task = Task.model_validate({"inputs": {"parameters": {"x": source}}})

    assert task_inputs(task, component, context()).parameters == {}
    with pytest.raises(ResolveError):
        resolved(source)


def test_a_selector_takes_a_part_of_an_output() -> None:
    source = {**output_of("a", "results"), "parameterExpressionSelector": 'parseJson(string_value)["n"]'}

    assert resolved(source, results={"n": 7}) == "7"
    assert resolved(source, "NUMBER_INTEGER", results={"n": 7}) == 7


def test_the_final_status_of_a_task_is_a_struct() -> None:
    status = resolved({"taskFinalStatus": {"producerTask": "a"}}, "TASK_FINAL_STATUS")

    assert status == {"state": "FAILED", "pipelineJobResourceName": "p-x", "pipelineTaskName": "a", "error": {}}


def test_constants_may_stand_for_the_run() -> None:
    assert resolved(constant("{{$.pipeline_job_name}}")) == "my run"
    assert resolved(constant("{{$.pipeline_job_uuid}}")) == "r"


def test_artifacts_come_from_the_dag_or_from_a_task() -> None:
    given = {
        "one": {"componentInputArtifact": "data"},
        "two": {"taskOutputArtifact": {"producerTask": "a", "outputArtifactKey": "k"}},
    }
    task = Task.model_validate({"inputs": {"artifacts": given}})

    found = task_inputs(task, Component(), context()).artifacts

    assert {name: one[0].uri for name, one in found.items()} == {"one": "s3://b/data", "two": "s3://b/a"}


def test_a_default_is_taken_for_what_is_not_given() -> None:
    declared = {"x": {"parameterType": "STRING", "defaultValue": "d"}}
    component = Component.model_validate({"inputDefinitions": {"parameters": declared}})

    assert task_inputs(Task(), component, context()).parameters == {"x": "d"}
    assert root_inputs(component, {}).parameters == {"x": "d"}
    assert root_inputs(component, {"x": "g"}).parameters == {"x": "g"}


def test_a_required_input_that_is_not_given_is_an_error() -> None:
    component = Component.model_validate({"inputDefinitions": parameters(x="STRING")})

    with pytest.raises(ResolveError, match="neither value nor default value provided"):
        task_inputs(Task(), component, context())


def test_a_turn_has_the_item_in_place_of_the_items() -> None:
    task = Task.model_validate({"parameterIterator": {"itemInput": "item", "items": {"inputParameter": "many"}}})
    inputs = Values(parameters={"many": "[1, 2]", "other": "o"})

    turn = turn_inputs(task, Component.model_validate({"inputDefinitions": parameters(item="STRING")}), inputs, 1)

    assert turn.parameters == {"item": "2", "other": "o"}


def test_only_lists_are_iterated_over() -> None:
    task = Task.model_validate({"parameterIterator": {"itemInput": "item", "items": {"inputParameter": "many"}}})

    with pytest.raises(ResolveError):
        items_of(task, Values(parameters={"many": {"a": 1}}))


def test_the_platform_part_may_refer_to_inputs() -> None:
    part = {
        "secretAsEnv": [{"secretNameParameter": constant("s3"), "optional": True}],
        "pvcMount": [{"pvcNameParameter": {"componentInputParameter": "alpha"}}],
        "nodeSelector": {"nodeSelectorJson": constant("{{$.inputs.parameters['alpha']}}")},
    }

    assert platform_values(part, context()) == {
        "secretAsEnv": [{"secretNameParameter": "s3", "optional": True}],
        "pvcMount": [{"pvcNameParameter": 0.5}],
        "nodeSelector": {"nodeSelectorJson": 0.5},
    }
