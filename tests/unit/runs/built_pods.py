"""Pods as they are built, and parts of them, in the words of the tests."""

from __future__ import annotations

import json
from typing import Any

from cairn.api.base import JsonObject
from cairn.runs.pod import PLAN_VARIABLE, Attempt, PodContext, build_pod
from cairn.runs.references import unescaped
from tests.unit.builders import (
    inputs,
    outputs,
    step,
)

LOAD = step("load", outputs=outputs("dataset"))
TRAIN = step("train", inputs=inputs(dataset="load.dataset"), outputs=outputs("model"))


def pod_of(context: PodContext, *steps: Any) -> JsonObject:
    return build_pod(context, [Attempt(one, 1) for one in steps])


def containers(pod: JsonObject) -> dict[str, JsonObject]:
    """Return the pod's containers by name, in the order in which they run."""
    return {item["name"]: item for item in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])}


def variables(container: JsonObject) -> dict[str, str]:
    return {item["name"]: item.get("value") for item in container["env"]}


def plan(container: JsonObject) -> JsonObject:
    return json.loads(unescaped(variables(container)[PLAN_VARIABLE]))


def own(pod: JsonObject, name: str = "only") -> JsonObject:
    return containers(pod)[name]


def everything(pod: JsonObject) -> list[JsonObject]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def list_or_value(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
