"""The kind Stack: a named set of components."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.base import GROUP, LocalRef, Model, list_map
from cairn.api.conditions import Condition
from cairn.api.pod_template import EnvVar, PodTemplate

DEFAULT_STACK_ANNOTATION = f"{GROUP}/default-stack"
"""Set to "true" on the Stack that runs without a `stackRef` use, as a StorageClass is made the default."""

BUILT_IN_STACK = "default"
"""The stack of a run without a `stackRef` where no Stack is the default: local orchestrator, local artifact store."""

KEEP_JOBS_SECONDS = 3600


class StackSpec(Model):
    """Which component the stack uses for what."""

    orchestrator_ref: LocalRef = Field(description="StackComponent that runs the steps (type `orchestrator`).")
    artifact_store_ref: LocalRef = Field(description="StackComponent that keeps the artifacts (type `artifactStore`).")
    experiment_tracker_ref: LocalRef | None = Field(
        default=None,
        description="StackComponent that records the runs (type `experimentTracker`). While it is not Ready runs go on, and are "
        "recorded later.",
    )
    model_registry_ref: LocalRef | None = Field(
        default=None,
        description="StackComponent that keeps versions of models (type `modelRegistry`). While it is not Ready runs go on, and "
        "what they are to register is registered later.",
    )
    step_operator_refs: Annotated[tuple[LocalRef, ...], Field(max_length=16)] | None = Field(
        default=None,
        description="StackComponents that single steps may ask for with `stepOperatorRef` (type `stepOperator`), such "
        "as one with a GPU.",
        json_schema_extra=list_map("name"),
    )
    pod_template: PodTemplate | None = Field(
        default=None, description="Additions to the pod of every step that runs on this stack."
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=256)] | None = Field(
        default=None,
        description="Environment variables of every step that runs on this stack.",
        json_schema_extra=list_map("name"),
    )
    keep_jobs_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = Field(
        default=KEEP_JOBS_SECONDS,
        description="How long the Jobs and pods of a run stay after its end, so that their logs can be read. After that they "
        "are deleted; the run, its artifacts and its status stay.",
    )
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None,
        description="How many runs of each pipeline that succeeded on this stack are kept; older ones are deleted. Left out, "
        "all.",
    )
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None,
        description="How many runs of each pipeline that ended otherwise on this stack are kept. Left out, all.",
    )
    description: str | None = Field(default=None, description="What the stack is for.", max_length=1024)


class ComponentStatus(Model):
    """What the stack found of one of its components."""

    type: str = Field(description="Type that the stack uses it as.", max_length=63)
    name: str = Field(description="Name of the StackComponent.", max_length=253)
    flavor: str | None = Field(default=None, description="Flavor, where the component exists.", max_length=63)
    ready: bool = Field(description="Whether it can be used in this stack.")
    reason: str = Field(description="The cause in one CamelCase word.", max_length=128)
    message: str = Field(description="The cause in a sentence, with the next action.", max_length=1024)


class StackStatus(Model):
    """What the operator found."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="`Ready`: whether runs can use the stack. `Default`, where its annotation asks for that: whether runs "
        "without a stackRef use it. `Reconciling`, while components are checked for the first time. `Stalled`, while only another "
        "spec can mend it.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: int | None = Field(
        default=None,
        description="The generation of the spec that the status is about; 0 until the operator has seen it.",
        ge=0,
    )
    orchestrator: str | None = Field(default=None, description="The orchestrator's flavor.", max_length=63)
    artifact_store: str | None = Field(default=None, description="The artifact store's flavor.", max_length=63)
    experiment_tracker: str | None = Field(
        default=None, description="The experiment tracker's flavor, where the stack has one.", max_length=63
    )
    components: Annotated[tuple[ComponentStatus, ...], Field(max_length=64)] = Field(
        default=(), description="Each component and its readiness.", json_schema_extra=list_map("type", "name")
    )
    active_runs: int | None = Field(
        default=None, description="How many runs use the stack and have not finished.", ge=0
    )
