"""From a Stack and the components of its namespace to a stack that runs can use, or to what is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.conditions import INVALID_SPEC, condition_of
from cairn.api.deletion import is_being_deleted
from cairn.api.pipelinerun_status import ResolvedComponent, ResolvedStack
from cairn.api.pod_template import EnvVar, PodTemplate
from cairn.api.stack import BUILT_IN_STACK, ComponentStatus, StackSpec
from cairn.clients.cluster import Cluster
from cairn.clients.store import Key
from cairn.components.artifact_store.local.config import LocalConfig as LocalStoreConfig
from cairn.components.artifact_store.local.store import Local as LocalStore
from cairn.components.base import ArtifactStore, ExperimentTracker, ModelRegistry, Orchestrator, StepOperator
from cairn.components.component_types import EXPERIMENT_TRACKER
from cairn.components.orchestrator.local.config import LocalConfig as LocalOrchestratorConfig
from cairn.components.orchestrator.local.orchestrator import Local as LocalOrchestrator
from cairn.components.progress import UNKNOWN_FLAVOR
from cairn.components.registry import AnyFlavor, UnknownFlavorError, load
from cairn.components.usage import references
from cairn.stacks.rules import incompatibilities

NOT_CHECKED = "NotChecked"
WRONG_TYPE = "WrongType"
COMPONENTS_NOT_CHECKED = "ComponentsNotChecked"
"""Reason of a Stack that lacks nothing but the first check of a component, which is on its way."""
COMPONENTS_INCOMPATIBLE = "ComponentsIncompatible"

FindComponent = Callable[[str], JsonObject | None]
"""Returns the StackComponent of that name in the stack's namespace, or None."""


@dataclass(frozen=True)
class UsableStack:
    """A stack whose components are all there, ready, and fit together."""

    name: str
    orchestrator: Orchestrator[Any]
    artifact_store: ArtifactStore[Any]
    step_operators: Mapping[str, StepOperator[Any]]
    pod_template: PodTemplate | None = None
    env: Sequence[EnvVar] = ()
    digest: str = ""
    components: Sequence[ResolvedComponent] = field(default_factory=tuple)
    experiment_tracker: ExperimentTracker[Any] | None = None
    model_registry: ModelRegistry[Any] | None = None
    built_in: bool = False
    """Whether it is the stack of runs that name none, which no object describes."""

    def to_status(self) -> ResolvedStack:
        """Return what a run records of the stack."""
        return ResolvedStack(
            name=self.name, built_in=self.built_in, digest=self.digest, components=tuple(self.components)
        )


@dataclass(frozen=True)
class Resolution:
    """What became of a stack's references."""

    components: tuple[ComponentStatus, ...]
    stack: UsableStack | None
    reason: str
    message: str

    def flavor_of(self, type_: str) -> str | None:
        """Return the flavor of the component of that type, where it is known."""
        return next((component.flavor for component in self.components if component.type == type_), None)


def resolve(name: str, spec: StackSpec, find: FindComponent) -> Resolution:
    """Return the stack that runs can use, or each component's state and why the stack cannot be used."""
    found: list[tuple[ComponentStatus, AnyFlavor | None, JsonObject | None]] = [
        (*_component(type_, component_name, find(component_name)), find(component_name))
        for type_, component_name in references(spec)
    ]
    statuses = tuple(status for status, _, _ in found)
    broken = [status for status, flavor, _ in found if not status.ready and (flavor is None or flavor.runs_wait_for_it)]
    if broken:
        unchecked = all(status.reason == NOT_CHECKED for status in broken)
        reason = COMPONENTS_NOT_CHECKED if unchecked else "ComponentsNotReady"
        return Resolution(statuses, None, reason, f"{_problems_of(broken)}.")
    flavors = [flavor for _, flavor, _ in found if flavor is not None]
    misfits = tuple(incompatibilities(flavors))
    if misfits:
        return Resolution(statuses, None, COMPONENTS_INCOMPATIBLE, "; ".join(misfits))
    specs = [component["spec"] for _, _, component in found if component is not None]
    stack = _usable(
        name,
        flavors,
        digest=_digest([spec.to_json(), *specs]),
        template=spec.pod_template,
        env=spec.env or (),
    )
    unready = [status for status in statuses if not status.ready]
    if unready:
        message = f"Runs go on without what is not ready, and are recorded later: {_problems_of(unready)}."
        types = {status.type for status in unready}
        reason = "ExperimentTrackerNotReady" if EXPERIMENT_TRACKER in types else "ModelRegistryNotReady"
        return Resolution(statuses, stack, reason, message)
    return Resolution(statuses, stack, "ComponentsReady", f"All {len(statuses)} components are ready.")


def _problems_of(components: Sequence[ComponentStatus]) -> str:
    return "; ".join(f"{status.type} {status.name}: {status.message.removesuffix('.')}" for status in components)


def resolve_stack(cluster: Cluster, key: Key, body: JsonObject) -> Resolution:
    """Resolve a Stack object with the components of its namespace."""
    try:
        spec = StackSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return Resolution((), None, INVALID_SPEC, first_problem(error))
    return resolve(key[1], spec, lambda name: cluster.components.get((key[0], name)))


def built_in_stack(namespace: str) -> UsableStack:
    """Return the stack of runs that name none where none is the default: everything local."""
    orchestrator = LocalOrchestrator(namespace, BUILT_IN_STACK, LocalOrchestratorConfig())
    store = LocalStore(namespace, BUILT_IN_STACK, LocalStoreConfig())
    digest = _digest([orchestrator.config.to_json(), store.config.to_json()])
    stack = _usable(BUILT_IN_STACK, [orchestrator, store], digest=digest, template=None, env=())
    return replace(stack, built_in=True)


def _component(type_: str, name: str, body: JsonObject | None) -> tuple[ComponentStatus, AnyFlavor | None]:
    def status(reason: str, message: str, *, ready: bool = False, flavor: str | None = None) -> ComponentStatus:
        return ComponentStatus(type=type_, name=name, flavor=flavor, ready=ready, reason=reason, message=message[:1024])

    if body is None:
        return status("NotFound", f"there is no StackComponent {name} in this namespace; create it"), None
    try:
        flavor = load(body)
    except UnknownFlavorError as error:
        return status(UNKNOWN_FLAVOR, f"{error}; upgrade the operator"), None
    except ValidationError as error:
        return status(INVALID_SPEC, f"its spec is not valid: {first_problem(error)}"), None
    if flavor.type != type_:
        return status(WRONG_TYPE, f"it is of type {flavor.type}; name one of type {type_}", flavor=flavor.flavor), None
    ready = condition_of(body, "Ready")
    metadata = body["metadata"]
    # a deletion raises the generation, without a change of the spec
    outdated = not is_being_deleted(body) and ready and ready.get("observedGeneration") != metadata["generation"]
    if ready is None or outdated:
        return status(NOT_CHECKED, "it has not been checked yet", flavor=flavor.flavor), None
    is_ready = ready["status"] == "True"
    return status(ready["reason"], ready["message"], ready=is_ready, flavor=flavor.flavor), flavor


def _usable(
    name: str,
    flavors: Sequence[AnyFlavor],
    *,
    digest: str,
    template: PodTemplate | None,
    env: Sequence[EnvVar],
) -> UsableStack:
    orchestrator = next(flavor for flavor in flavors if isinstance(flavor, Orchestrator))
    store = next(flavor for flavor in flavors if isinstance(flavor, ArtifactStore))
    tracker = next((flavor for flavor in flavors if isinstance(flavor, ExperimentTracker)), None)
    registry = next((flavor for flavor in flavors if isinstance(flavor, ModelRegistry)), None)
    operators = {flavor.name: flavor for flavor in flavors if isinstance(flavor, StepOperator)}
    components = [ResolvedComponent(type=flavor.type, name=flavor.name, flavor=flavor.flavor) for flavor in flavors]
    return UsableStack(name, orchestrator, store, operators, template, env, digest, components, tracker, registry)


def _digest(specs: Sequence[JsonObject]) -> str:
    text = json.dumps(specs, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
