"""What a pipeline names and does not have. Neither the SDK nor the API server look for all of it; a run would fail on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

_PLACEHOLDER = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']*)'\]\.?(?:path|output_file)?\}\}")
_IN_CONDITION = re.compile(r'inputs\.parameter_values\["([^"]*)"\]')
_TYPES = {"parameters": "parameterType", "artifacts": "artifactType"}


def unresolved(spec: Json) -> list[str]:
    """Return a sentence for each name that stands for nothing."""
    components = {"root": spec["root"], **spec["components"]}
    return [
        *(problem for name, component in components.items() for problem in _of_tasks(spec, name, component)),
        *(problem for name, component in components.items() for problem in _of_placeholders(spec, name, component)),
    ]


def _of_tasks(spec: Json, dag: str, component: Json) -> Iterator[str]:
    tasks: Mapping[str, Json] = component.get("dag", {}).get("tasks", {})
    for name, task in tasks.items():
        at = f"{dag}.{name}"
        called = spec["components"][task["componentRef"]["name"]]
        given = task.get("inputs", {})
        for kind in ("parameters", "artifacts"):
            declared = _declared(called, "input", kind)
            if given.get(kind, {}).keys() != declared.keys():
                yield f"{at} is given {kind} {sorted(given.get(kind, {}))}, and has {sorted(declared)}"
            for key, source in given.get(kind, {}).items():
                yield from _of_source(spec, component, tasks, f"{at}.{key}", source, kind)
        for parameter in _IN_CONDITION.findall(task.get("triggerPolicy", {}).get("condition", "")):
            if parameter not in given.get("parameters", {}):
                yield f"{at} has a condition on {parameter}, which it is not given"


def _of_source(
    spec: Json, component: Json, tasks: Mapping[str, Json], at: str, source: Json, kind: str
) -> Iterator[str]:
    own = source.get("componentInputParameter") or source.get("componentInputArtifact")
    if own is not None and own not in _declared(component, "input", kind):
        yield f"{at} is {own}, which its component is not given"
    written = source.get("taskOutputParameter") or source.get("taskOutputArtifact")
    if written is None:
        return
    producer = tasks.get(written["producerTask"])
    if producer is None:
        yield f"{at} is of {written['producerTask']}, which is no task beside it"
        return
    outputs = _declared(spec["components"][producer["componentRef"]["name"]], "output", kind)
    key = written.get("outputParameterKey") or written.get("outputArtifactKey")
    if key not in outputs:
        yield f"{at} is {key}, which {written['producerTask']} does not write"


def _of_placeholders(spec: Json, name: str, component: Json) -> Iterator[str]:
    executor = spec["deploymentSpec"]["executors"].get(component.get("executorLabel"), {})
    container = executor.get("container", {})
    for text in (*container.get("command", ()), *container.get("args", ())):
        for direction, kind, key in _PLACEHOLDER.findall(text):
            if key not in _declared(component, direction.removesuffix("s"), kind):
                yield f"{name} has no {direction}.{kind} {key}"


def _declared(component: Json, direction: str, kind: str) -> Json:
    return component.get(f"{direction}Definitions", {}).get(kind, {})
