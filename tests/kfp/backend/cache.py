"""The cache: outputs of earlier executions, by a fingerprint of what went in."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel

from .ir import Component, Container
from .state import Values
from .task_spec import Task


class Cache(BaseModel):
    """What earlier executions have put out, and how many there were."""

    outputs: dict[str, Values] = {}
    """By fingerprint."""
    executions: int = 0


def fingerprint(*, pipeline: str, task: Task, component: Component, container: Container, inputs: Values) -> str:
    """Return the fingerprint of an execution; executions of other pipelines have others."""
    if task.caching_options.cache_key:
        return _digest([pipeline, task.caching_options.cache_key])
    artifacts = {name: [one.uri for one in found] for name, found in sorted(inputs.artifacts.items())}
    outputs = component.output_definitions.model_dump(mode="json")
    code = [container.image, container.command, container.args, [variable.model_dump() for variable in container.env]]
    return _digest([pipeline, sorted(inputs.parameters.items()), artifacts, outputs, code])


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
