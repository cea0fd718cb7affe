"""What the backend remembers: experiments, runs, and of each run the workflow and the tasks last reported of it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from .ir import Container


class Phase(StrEnum):
    """Of a node, as Argo has it; KFP's states have the same names, but for OMITTED, which it does not tell."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    OMITTED = "OMITTED"

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        return self not in {Phase.PENDING, Phase.RUNNING}


class Kind(StrEnum):
    """Of a node."""

    POD = "Pod"
    DAG = "DAG"
    """Of others, which decide how it ends."""
    RETRY = "Retry"
    """Of attempts, of which the last decides."""


CANCELING = "CANCELING"
AVAILABLE = "AVAILABLE"
ARCHIVED = "ARCHIVED"


class Artifact(BaseModel):
    """An artifact as tasks hand it on."""

    name: str
    uri: str
    schema_title: str = "system.Artifact"
    metadata: dict[str, Any] = {}


class Values(BaseModel):
    """Parameters and artifacts: what went into a task, or came out of it."""

    parameters: dict[str, Any] = {}
    artifacts: dict[str, list[Artifact]] = {}


class Decision(BaseModel):
    """What a driver has found out about a task."""

    inputs: Values = Values()
    condition: bool = True
    iteration_count: int | None = None
    """Of a loop."""
    base_uri: str = ""
    """Below which a container's outputs and logs go."""
    outputs: Values = Values()
    """Artifacts only: where a container is to write them."""
    platform: dict[str, Any] = {}
    """The platform part of a container, with its references to inputs resolved."""
    cached: Values | None = None
    """The outputs of an earlier execution, if that is to be taken."""
    fingerprint: str | None = None
    """Under which the outputs are remembered."""
    execution_id: int = 0
    """Under which ML Metadata would have it."""


class Attempt(BaseModel):
    """One container to run."""

    pod_name: str
    node_id: str
    node_name: str
    """Where it is in the workflow, as in `wine-x2x7q.root.train.executor(1)`."""
    workflow: str
    run_id: str
    task: str
    """The path of the task below the workflow, as in `root.for-loop-1.iteration-iterations(0:0).iteration-item.train`."""
    number: int
    """From 0; more after retries."""
    container: Container
    platform: dict[str, Any] = {}
    inputs: Values = Values()
    outputs: Values = Values()
    """Artifacts only: their URIs."""
    output_parameters: list[str] = []
    log_uri: str = ""
    """Where its log is kept."""
    service_account: str = ""


class Node(BaseModel):
    """A node of a workflow, as Argo has it in its status."""

    id: str
    name: str
    display_name: str
    kind: Kind
    phase: Phase
    started_at: datetime
    finished_at: datetime | None = None
    message: str = ""
    """Why it failed; KFP tells nobody."""
    children: list[str] = []
    """IDs of nodes."""
    outbound: list[str] = []
    """Names of the nodes after which a dependent comes; the node itself if there are none."""
    decision: Decision | None = None
    """Of a driver."""
    attempt: Attempt | None = None
    """Of a pod."""
    outputs: Values | None = None
    """Of a task that has succeeded."""

    @property
    def has_ended(self) -> bool:
        """Whether it is over: one that was terminated has failed before its pod is gone."""
        return self.phase.is_final and self.finished_at is not None


class Workflow(BaseModel):
    """The execution of a run, as Argo has it."""

    name: str
    created_at: datetime
    phase: Phase | None = None
    """None until a controller has seen it."""
    finished_at: datetime | None = None
    is_terminating: bool = False
    nodes: dict[str, Node] = {}
    """By name."""


class Moment(BaseModel):
    """A state and when it was reported; OMITTED nodes have none, nor have workflows that no controller has seen."""

    state: str | None
    update_time: datetime


class TaskDetail(BaseModel):
    """A task as KFP tells of it: what was last reported of a node, or what a launcher has put into the cache."""

    task_id: str
    display_name: str = ""
    state: str | None = None
    execution_id: int | None = None
    """Of an entry of the cache, which has neither name nor state."""
    create_time: datetime
    state_history: list[Moment] = []
    start_time: datetime
    end_time: datetime | None
    children: list[str] = []


class Experiment(BaseModel):
    """An experiment."""

    experiment_id: str
    display_name: str
    description: str = ""
    namespace: str = ""
    created_at: datetime
    last_run_created_at: datetime | None = None
    storage_state: str = AVAILABLE


class Run(BaseModel):
    """A run."""

    run_id: str
    display_name: str
    description: str = ""
    experiment_id: str
    pipeline_spec: dict[str, Any]
    runtime_config: dict[str, Any] = {}
    service_account: str
    created_at: datetime
    finished_at: datetime | None = None
    state: str | None = Phase.PENDING.value
    state_history: list[Moment] = []
    storage_state: str = AVAILABLE
    tasks: dict[str, TaskDetail] = Field(default_factory=dict[str, TaskDetail])
    """By the ID of their node, or their own."""
    workflow: Workflow


def node_id(workflow: str, name: str) -> str:
    """Return the ID that Argo gives a node: the workflow's name and the 32-bit FNV-1a hash of the node's."""
    return workflow if name == workflow else f"{workflow}-{fnv1a(name)}"


def pod_name(workflow: str, template: str, name: str) -> str:
    """Return the name that Argo gives a node's pod."""
    return f"{workflow}-{template}-{fnv1a(name)}"


def fnv1a(text: str) -> int:
    """Return the 32-bit FNV-1a hash of a text."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
