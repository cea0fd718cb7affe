"""The inputs of a task: from its DAG's inputs, constants, and what other tasks of the DAG have put out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import expressions
from .ir import Component
from .state import Artifact, Values
from .task_spec import ParameterInput, Task, TaskOutputArtifact, TaskOutputParameter
from .values import convert_input


class ResolveError(ValueError):
    """An input cannot be resolved; the driver fails with it."""


_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(.*?)'\]\}\}")


@dataclass(frozen=True)
class Context:
    """What a task of a DAG can see."""

    inputs: Values
    """Of the DAG."""
    parameter: Callable[[TaskOutputParameter], Any]
    artifact: Callable[[TaskOutputArtifact], list[Artifact]]
    final_status: Callable[[str], str]
    """The state in which a task ended."""
    run_id: str
    run_name: str
    workflow: str
    task: str
    created_at: datetime


def task_inputs(task: Task, component: Component, context: Context) -> Values:
    """Return the inputs of a task. Raises ResolveError, ExpressionError or ConversionError."""
    parameters = {} if component.dag is None else _omitted(task, component)
    null_allowed = {name for name, value in parameters.items() if value is None}
    for name, source in task.inputs.parameters.items():
        value = _parameter(source, context, task)
        if value is None:
            declared = component.input_definitions.parameters.get(name)
            if declared is not None and declared.is_optional:
                continue
            raise ResolveError(f"the resolved input parameter is null: {name}")
        if source.parameter_expression_selector:
            value = expressions.select(value, source.parameter_expression_selector)
        parameters[name] = value
    _add_items(task, parameters)
    return Values(parameters=_typed(task, component, parameters, null_allowed), artifacts=_artifacts(task, context))


def _omitted(task: Task, component: Component) -> dict[str, Any]:
    """Return the optional inputs of a DAG that its task does not give; a container's launcher sees to its own."""
    return {
        name: spec.default_value
        for name, spec in component.input_definitions.parameters.items()
        if spec.is_optional and name not in task.inputs.parameters
    }


def _typed(task: Task, component: Component, parameters: dict[str, Any], null_allowed: set[str]) -> dict[str, Any]:
    typed = dict(parameters)
    item = task.parameter_iterator.item_input if task.parameter_iterator else None
    for name, spec in component.input_definitions.parameters.items():
        if name == item:
            continue
        if name not in parameters:
            if not spec.has_default and not spec.is_optional:
                raise ResolveError(f'neither value nor default value provided for non-optional parameter "{name}"')
            if spec.has_default:
                typed[name] = spec.default_value
        elif name not in null_allowed:
            typed[name] = convert_input(name, parameters[name], spec.parameter_type)
    return typed


def _parameter(source: ParameterInput, context: Context, task: Task) -> Any:
    if source.component_input_parameter is not None:
        if source.component_input_parameter not in context.inputs.parameters:
            raise ResolveError(f"parent DAG does not have input parameter {source.component_input_parameter}")
        return context.inputs.parameters[source.component_input_parameter]
    if source.runtime_value is not None:
        return _constant(source.runtime_value.constant, context)
    if source.task_output_parameter is not None:
        return context.parameter(source.task_output_parameter)
    if source.task_final_status is not None:
        producer = task.dependent_tasks[0] if task.dependent_tasks else source.task_final_status.producer_task
        return {
            "state": context.final_status(producer),
            "pipelineJobResourceName": context.workflow,
            "pipelineTaskName": producer,
            "error": {},
        }
    raise ResolveError("parameter spec of no known kind")


def _constant(value: Any, context: Context) -> Any:
    if not isinstance(value, str):
        return value
    known = {
        "{{$.pipeline_job_name}}": context.run_name,
        "{{$.pipeline_job_resource_name}}": context.workflow,
        "{{$.pipeline_job_uuid}}": context.run_id,
        "{{$.pipeline_task_name}}": context.task,
        "{{$.pipeline_job_create_time_utc}}": context.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "{{$.pipeline_job_schedule_time_utc}}": context.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return known.get(value, value)


def platform_values(part: Any, context: Context) -> Any:
    """Return the platform part of an executor with values in place of its references to inputs."""
    if isinstance(part, list):
        return [platform_values(one, context) for one in part]
    if not isinstance(part, dict):
        return part
    if len(part) == 1 and part.keys() <= {"runtimeValue", "componentInputParameter", "taskOutputParameter"}:
        value = _parameter(ParameterInput.model_validate(part), context, Task())
        return _from_placeholder(value, context)
    return {name: platform_values(one, context) for name, one in part.items()}


def _from_placeholder(value: Any, context: Context) -> Any:
    """Return the input parameter of the DAG that a constant may stand for."""
    match = _INPUT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    if match[1] not in context.inputs.parameters:
        raise ResolveError(f"parent DAG does not have input parameter {match[1]}")
    return context.inputs.parameters[match[1]]


def _artifacts(task: Task, context: Context) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = {}
    for name, source in task.inputs.artifacts.items():
        if source.component_input_artifact is not None:
            if source.component_input_artifact not in context.inputs.artifacts:
                raise ResolveError(f"parent DAG does not have input artifact {source.component_input_artifact}")
            found[name] = context.inputs.artifacts[source.component_input_artifact]
        elif source.task_output_artifact is not None:
            found[name] = context.artifact(source.task_output_artifact)
        else:
            raise ResolveError(f"failed to resolve input artifact {name}: spec of no known kind")
    return found


def _add_items(task: Task, parameters: dict[str, Any]) -> None:
    """Put what a loop goes over among its inputs, if it is written down and comes from nowhere."""
    if task.parameter_iterator and task.parameter_iterator.items.raw:
        parameters[task.parameter_iterator.item_input] = json.loads(task.parameter_iterator.items.raw)


def items_of(task: Task, inputs: Values) -> list[Any]:
    """Return what a loop goes over."""
    assert task.parameter_iterator is not None
    name = task.parameter_iterator.items.input_parameter or task.parameter_iterator.item_input
    items = inputs.parameters.get(name)
    if isinstance(items, str):
        items = json.loads(items)
    if not isinstance(items, list):
        raise ResolveError(f"cannot iterate over {items!r}")
    return items


def turn_inputs(task: Task, component: Component, inputs: Values, index: int) -> Values:
    """Return the inputs of one turn of a loop: those of the loop, with the item for the items."""
    assert task.parameter_iterator is not None
    items, item = task.parameter_iterator.items.input_parameter, task.parameter_iterator.item_input
    parameters = {name: value for name, value in inputs.parameters.items() if name != items}
    parameters[item] = items_of(task, inputs)[index]
    declared = component.input_definitions.parameters.get(item)
    if declared is not None:
        parameters[item] = convert_input(item, parameters[item], declared.parameter_type)
    return Values(parameters=parameters, artifacts=inputs.artifacts)


def root_inputs(component: Component, given: dict[str, Any]) -> Values:
    """Return the inputs of a pipeline: what the run gives, and defaults."""
    defaults = {
        name: spec.default_value
        for name, spec in component.input_definitions.parameters.items()
        if spec.has_default or spec.is_optional
    }
    return Values(parameters={**defaults, **given})
