"""From a run to the intermediate representation of Kubeflow Pipelines, as its own SDK would make it. Pure.

See https://github.com/kubeflow/pipelines/blob/2.17.0/api/v2alpha1/pipeline_spec.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cairn.api.base import JsonObject
from cairn.components.step_access import StepAccess
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.group import grouped, that_may_be_left_out
from cairn.runs.kubeflow.task import Task, task_of
from cairn.runs.kubeflow.texts import STATUS
from cairn.runs.naming import RESERVED_PREFIX
from cairn.runs.pod import PodContext

SCHEMA_VERSION = "2.1.0"
SDK_VERSION = "kfp-2.17.0"
"""Whose representation it is: servers look at it to know what to expect."""
MAIN, FINALLY = f"{RESERVED_PREFIX}main", f"{RESERVED_PREFIX}finally"
"""Tasks that hold the steps, and those of `finally`, where there are some of these."""


@dataclass(frozen=True)
class Pipeline:
    """What is submitted of a run."""

    spec: JsonObject
    platform: JsonObject
    parameters: Mapping[str, str]
    """The values of its parameters, for people to see and to compare."""


def compile_run(
    context: PodContext, steps: RunSteps, names: Sequence[str], access: Mapping[str, StepAccess]
) -> Pipeline:
    """Return the pipeline of a run in which these steps are to run, those of forEach as their instances.

    `access` is what the code of steps needs to record.
    """
    in_pipeline = frozenset(names)
    tasks = [
        task_of(context, steps, steps.by_name[name], in_pipeline, access.get(name, StepAccess())) for name in names
    ]
    tasks, groups = grouped(tasks, that_may_be_left_out(steps, names))
    main = [task for task in tasks if not steps.is_finally(task.name)]
    last = [task for task in tasks if steps.is_finally(task.name)]
    every = [each for task in tasks for each in (*task.importers, task)]
    components = {f"comp-{task.name}": task.component for task in every}
    components |= groups
    executors = {f"exec-{task.name}": task.executor for task in every}
    parameters = context.values.parameters
    spec: JsonObject = {
        "pipelineInfo": {"name": context.run.pipeline},
        "schemaVersion": SCHEMA_VERSION,
        "sdkVersion": SDK_VERSION,
        "components": components,
        "deploymentSpec": {"executors": executors},
        "root": _component(main or last, parameters),
    }
    if main and last:
        components[f"dag-{MAIN}"] = _component(main, parameters)
        components[f"dag-{FINALLY}"] = _of_finally(_component(last, parameters))
        spec["root"] = {**_definitions(parameters), "dag": {"tasks": _main_and_finally(parameters)}}
    platform = {f"exec-{task.name}": task.platform for task in tasks if task.platform}
    return Pipeline(
        spec,
        {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}}} if platform else {},
        parameters,
    )


def _component(tasks: Iterable[Task], parameters: Mapping[str, str]) -> JsonObject:
    return {**_definitions(parameters), "dag": {"tasks": _tasks(tasks)}}


def _of_finally(component: JsonObject) -> JsonObject:
    """Return the component of the last steps, which are told how the others have ended."""
    parameters = component.get("inputDefinitions", {}).get("parameters", {})
    return {
        **component,
        "inputDefinitions": {
            "parameters": {**parameters, STATUS: {"parameterType": "TASK_FINAL_STATUS", "isOptional": True}}
        },
    }


def _definitions(parameters: Mapping[str, str]) -> JsonObject:
    if not parameters:
        return {}
    return {"inputDefinitions": {"parameters": {name: {"parameterType": "STRING"} for name in parameters}}}


def _main_and_finally(parameters: Mapping[str, str]) -> JsonObject:
    """Return the tasks of a pipeline whose last steps run however the others have ended: an exit task of those."""
    own = {name: {"componentInputParameter": name} for name in parameters}
    status = {STATUS: {"taskFinalStatus": {"producerTask": MAIN}}}
    return {
        MAIN: {
            "taskInfo": {"name": MAIN},
            "componentRef": {"name": f"dag-{MAIN}"},
            "cachingOptions": {},
            **({"inputs": {"parameters": own}} if own else {}),
        },
        FINALLY: {
            "taskInfo": {"name": FINALLY},
            "componentRef": {"name": f"dag-{FINALLY}"},
            "cachingOptions": {},
            "dependentTasks": [MAIN],
            "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
            "inputs": {"parameters": {**own, **status}},
        },
    }


def _tasks(tasks: Iterable[Task]) -> JsonObject:
    return {each.key or each.name: each.task for task in tasks for each in (*task.importers, task)}
