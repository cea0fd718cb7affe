"""What KFP refuses when a run is created."""

from __future__ import annotations

import json
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from .errors import KfpError, ProtoError, internal, invalid_input
from .ir import SCHEMA_VERSION, Component, ParameterType, PipelineSpec, PlatformSpec, read
from .values import KINDS, kind_of

RUN_FIELDS = {
    "run_id",
    "display_name",
    "description",
    "experiment_id",
    "storage_state",
    "pipeline_version_id",
    "pipeline_version_reference",
    "pipeline_spec",
    "runtime_config",
    "service_account",
    "recurring_run_id",
    "plugins_input",
}
EXPERIMENT_FIELDS = {"experiment_id", "display_name", "description", "namespace", "storage_state"}
_SAID: dict[ParameterType, str] = {"NUMBER_DOUBLE": "double or integer", "NUMBER_INTEGER": "double or integer"}


def body(text: str, fields: set[str]) -> dict[str, Any]:
    """Return the body of a request. Raises ProtoError for one with fields that there are not."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise ProtoError(f"proto: syntax error: {error}") from error
    if not isinstance(found, dict):
        raise ProtoError("proto: syntax error (line 1:1): unexpected token")
    body: dict[str, Any] = {}
    for name, value in found.items():
        proto_name = _snake(name)
        if proto_name not in fields:
            line, column = _position(text, f'"{name}"')
            raise ProtoError(f'proto: (line {line}:{column}): unknown field "{name}"')
        body[proto_name] = value
    return body


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _position(text: str, part: str) -> tuple[int, int]:
    before = text[: text.find(part)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def pipeline(spec: dict[str, Any]) -> tuple[PipelineSpec, PlatformSpec]:
    """Return what a run is to execute. Raises KfpError if that is no pipeline."""
    try:
        found, platform = read(spec)
    except ValidationError as error:
        raise _manifest(f"InvalidInputError: invalid v2 pipeline spec: {error.errors()[0]['msg']}") from error
    if found.schema_version != SCHEMA_VERSION:
        raise _manifest(
            f"InvalidInputError: KFP only supports schema version {SCHEMA_VERSION}, but the pipeline spec has version "
            f"{found.schema_version}: pipeline spec is invalid"
        )
    if not found.pipeline_info.name:
        raise _manifest("InvalidInputError: invalid v2 pipeline spec: name is empty")
    if found.root.dag is None:
        raise _manifest("InvalidInputError: invalid v2 pipeline spec: root component is empty")
    _dag(found, "root", found.root)
    for name, component in found.components.items():
        _dag(found, name, component)
    return found, platform


def _manifest(reason: str) -> KfpError:
    context = "Failed to create a run due to error fetching manifest"
    return internal(f"{context}: Failed to fetch a template with an invalid pipeline spec manifest: {reason}")


def _compiling(dag: str, reason: str) -> KfpError:
    return internal(f'Failed to generate the ExecutionSpec: compiling DAG "{dag}": {reason}')


def _dag(spec: PipelineSpec, name: str, component: Component) -> None:
    """Check what the compiler finds in a DAG."""
    tasks = component.dag.tasks if component.dag else {}
    for task_name, task in tasks.items():
        ref = task.component_ref.name
        if ref not in spec.components:
            raise _compiling(name, f'compiling task "{task_name}": component spec for "{ref}" not found')
        label = spec.components[ref].executor_label
        if spec.components[ref].dag is None and label not in spec.deployment_spec.executors:
            raise _compiling(name, f'compiling task "{task_name}": executor with label "{label}" not found')
        if task.artifact_iterator is not None:
            raise _compiling(name, "artifact iterator not implemented yet")
        for producer in task.producers():
            if producer not in tasks or tasks[producer].is_exit_task:
                raise _compiling(name, f'task "{task_name}" depends on unknown task "{producer}"')
        _condition_of_importer(spec, name, task_name)
    if component.dag and all(task.is_exit_task for task in tasks.values()):
        raise _compiling(name, f"DAG {name} must contain one or more non-exit tasks")
    try:
        TopologicalSorter({one: task.producers() for one, task in tasks.items()}).prepare()
    except CycleError as error:
        raise _compiling(name, f"tasks depend on each other: {' -> '.join(error.args[1])}") from error


def _condition_of_importer(spec: PipelineSpec, dag: str, task_name: str) -> None:
    component = spec.root if dag == "root" else spec.components[dag]
    assert component.dag is not None
    task = component.dag.tasks[task_name]
    called = spec.component_of(task)
    if called.dag is None and spec.executor_of(called).importer and task.trigger_policy.condition:
        raise _compiling(dag, "triggerPolicy.condition on importer task is not supported")


def parameters(spec: PipelineSpec, given: dict[str, Any]) -> None:
    """Check the parameters of a run. Raises KfpError."""
    for name, declared in spec.root.input_definitions.parameters.items():
        if name not in given:
            if not declared.is_optional and not declared.has_default:
                raise _inputs(
                    f"parameter {name} is not optional, yet has neither default value nor user provided value"
                )
            continue
        kind = KINDS.get(declared.parameter_type)
        if kind is None:
            raise _inputs(f"input parameter {name} has unspecified type")
        if kind_of(given[name]) != kind:
            said = _SAID.get(declared.parameter_type, kind)
            raise _inputs(
                f"input parameter {name} requires type {said}, but the parameter value is not of {kind} value type"
            )


def _inputs(reason: str) -> KfpError:
    return invalid_input(reason).within("Failed to generate the ExecutionSpec: invalid pipeline job inputs")
