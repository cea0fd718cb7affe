"""Groups around tasks that may be left out while others go on that come after them. Pure.

A task of Kubeflow Pipelines waits for tasks that have succeeded; one that its condition has left out has not. A group of that
one task has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cairn.api.base import JsonObject
from cairn.runs.graph import StepGraph
from cairn.runs.instances import RunSteps, written_name
from cairn.runs.kubeflow.conditions import asked_by
from cairn.runs.kubeflow.task import Task
from cairn.runs.naming import RESERVED_PREFIX

GROUP_PREFIX = f"{RESERVED_PREFIX}when-"


def that_may_be_left_out(steps: RunSteps, names: Iterable[str]) -> frozenset[str]:
    """Return the steps with a `when` that others come after without using what they write."""
    used = used_steps(steps.graph)
    waited_for = frozenset[str]().union(*steps.graph.needs.values())
    return frozenset(
        name
        for name in names
        if steps.by_name[name].when is not None
        and written_name(steps.by_name[name]) in waited_for
        and written_name(steps.by_name[name]) not in used
    )


def used_steps(graph: StepGraph) -> frozenset[str]:
    """Return the steps whose outputs others use."""
    return frozenset[str]().union(*(steps_used_by(graph, name) for name in graph.steps))


def steps_used_by(graph: StepGraph, name: str) -> frozenset[str]:
    """Return the steps whose outputs a step uses; a task needs the results that its condition asks for, too."""
    return graph.uses[name] | {step for step, result in asked_by(graph, name) if result is not None}


def grouped(tasks: Iterable[Task], names: frozenset[str]) -> tuple[list[Task], Mapping[str, JsonObject]]:
    """Return the tasks with those of these names each in a group of its own, and the components of the groups."""
    made: list[Task] = []
    components: dict[str, JsonObject] = {}
    for task in tasks:
        waits = [f"{GROUP_PREFIX}{name}" if name in names else name for name in task.task.get("dependentTasks", ())]
        spec = {**task.task, **({"dependentTasks": waits} if waits else {})}
        if task.name not in names:
            made.append(replace(task, task=spec))
            continue
        group = f"{GROUP_PREFIX}{task.name}"
        inner = {name: value for name, value in task.task.items() if name != "dependentTasks"}
        given = task.task.get("inputs", {})
        if given:
            inner["inputs"] = {kind: _handed_on(kind, entries) for kind, entries in given.items()}
        components[f"dag-{group}"] = {
            **{name: value for name, value in task.component.items() if name == "inputDefinitions"},
            "dag": {"tasks": {task.name: inner}},
        }
        outer = {
            "taskInfo": {"name": group},
            "componentRef": {"name": f"dag-{group}"},
            "cachingOptions": {},
            **{name: value for name, value in spec.items() if name in {"dependentTasks", "inputs"}},
        }
        made.append(replace(task, task=outer, key=group))
    return made, components


def _handed_on(kind: str, entries: Mapping[str, JsonObject]) -> JsonObject:
    field = "componentInputParameter" if kind == "parameters" else "componentInputArtifact"
    return {name: {field: name} for name in entries}
