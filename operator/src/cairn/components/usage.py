"""Which Stacks use which components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from cairn.api.base import JsonObject
from cairn.api.stack import StackSpec
from cairn.components.component_types import (
    ARTIFACT_STORE,
    EXPERIMENT_TRACKER,
    MODEL_REGISTRY,
    ORCHESTRATOR,
    STEP_OPERATOR,
)


def references(spec: StackSpec) -> Iterator[tuple[str, str]]:
    """Yield (type, name) of every component that a stack names."""
    yield ORCHESTRATOR, spec.orchestrator_ref.name
    yield ARTIFACT_STORE, spec.artifact_store_ref.name
    if spec.experiment_tracker_ref is not None:
        yield EXPERIMENT_TRACKER, spec.experiment_tracker_ref.name
    if spec.model_registry_ref is not None:
        yield MODEL_REGISTRY, spec.model_registry_ref.name
    for reference in spec.step_operator_refs or ():
        yield STEP_OPERATOR, reference.name


def components_of(stack: JsonObject) -> frozenset[str]:
    """Return the names of the components that a Stack object names; none where its spec is not valid."""
    try:
        spec = StackSpec.model_validate(stack.get("spec") or {})
    except ValidationError:
        return frozenset()
    return frozenset(name for _, name in references(spec))


def users_of(component: str, stacks: Iterable[JsonObject]) -> tuple[str, ...]:
    """Return the names of the Stacks that name a component, sorted."""
    return tuple(sorted(stack["metadata"]["name"] for stack in stacks if component in components_of(stack)))
