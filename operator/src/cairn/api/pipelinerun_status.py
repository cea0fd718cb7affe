"""What became of a PipelineRun and its steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import (
    Model,
    Timestamp,
    list_map,
)
from cairn.api.conditions import Condition
from cairn.api.for_each import MOST_INSTANCES
from cairn.api.pipelinerun import MOST_FINALLY, MOST_STEPS
from cairn.api.registration import MOST_REGISTRATIONS, RegistrationStatus

LONGEST_ITEM_TOLD = 63
StepState = Literal["Pending", "Queued", "Running", "Retrying", "Succeeded", "Failed", "Skipped", "Cached", "Cancelled"]


class ArtifactStatus(Model):
    """An output that is kept in the artifact store."""

    name: str = Field(description="Name of the output.", max_length=63)
    uri: str = Field(description="Where it is kept.", max_length=2048)
    digest: str = Field(
        description="`sha256:` and the digest of the file, or of the manifest that lists a directory's files.",
        max_length=80,
    )
    size_bytes: int = Field(description="Size in bytes, of all files together.", ge=0)


class ResultStatus(Model):
    """A small value that the step wrote."""

    name: str = Field(description="Name of the result.", max_length=63)
    value: str = Field(description="Its value.", max_length=4096)


class AttemptStatus(Model):
    """What became of one attempt of a step, other than the latest."""

    number: int = Field(description="Which attempt it was, from 1.", ge=1)
    reason: str = Field(description="Why it ended, in one CamelCase word.", max_length=128)
    message: str | None = Field(default=None, description="Why it ended, in a sentence.", max_length=256)
    exit_code: int | None = Field(default=None, description="Exit code of the step's container.")
    charged: bool = Field(description="Whether it counts against `retry.limit`: a disruption does not.")
    start_time: Timestamp | None = Field(default=None, description="When its container started.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended.")
    job_name: str | None = Field(default=None, description="Its Job.", max_length=253)
    pod_name: str | None = Field(default=None, description="Its pod.", max_length=253)
    log_uri: str | None = Field(
        default=None,
        validation_alias="logURI",
        serialization_alias="logURI",
        description="Where its log is kept in the artifact store.",
        max_length=2048,
    )


class CachedFrom(Model):
    """Where the outputs of a step come from that was left out."""

    run: str = Field(description="Name of the run in which it ran.", max_length=253)
    step: str = Field(description="Name of the step, or of the instance of it.", max_length=63)
    completion_time: Timestamp = Field(description="When it ended.")


class StepStatus(Model):
    """What became of one step."""

    name: str = Field(description="Name of the step, or of an instance of it.", max_length=63)
    item: str | None = Field(
        default=None,
        description="The beginning of its item, where it is an instance of a step with forEach.",
        max_length=LONGEST_ITEM_TOLD,
    )
    state: StepState = Field(
        description="Pending (waits for others), Queued (an attempt is decided upon and has not started), Running, Retrying "
        "(waits for its next attempt), Succeeded, Failed, Skipped (its `when` is false, a step that it needs did not "
        "succeed, or the failure policy starts nothing more), Cached (the same step has succeeded before, and its outputs are "
        "used), or Cancelled (the run was cancelled or timed out, or its failure "
        "policy stopped the step)."
    )
    attempts: int = Field(default=0, description="How many attempts were made of it.", ge=0)
    retries_used: int = Field(
        default=0, description="How many more attempts were made and charged to `retry.limit`.", ge=0
    )
    disruptions: int = Field(
        default=0, description="How many more attempts were made because the cluster took the pod away.", ge=0
    )
    next_attempt_time: Timestamp | None = Field(
        default=None, description="When the next attempt is made, while Retrying."
    )
    reason: str | None = Field(default=None, description="The cause in one CamelCase word.", max_length=128)
    message: str | None = Field(
        default=None, description="The cause in a sentence, with the next action.", max_length=1024
    )
    exit_code: int | None = Field(default=None, description="Exit code of the step's container, where it failed.")
    queued_time: Timestamp | None = Field(default=None, description="When the latest attempt was decided upon.")
    start_time: Timestamp | None = Field(default=None, description="When its container started.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended, its outputs kept.")
    job_name: str | None = Field(default=None, description="Job of the latest attempt.", max_length=253)
    pod_name: str | None = Field(default=None, description="Pod of the latest attempt.", max_length=253)
    cached_from: CachedFrom | None = Field(
        default=None, description="Where the outputs of a step that is Cached come from."
    )
    cache_key: str | None = Field(
        default=None,
        description="Digest of all that the step's outputs depend on, where it may be cached; the same steps have the same.",
        max_length=80,
    )
    image_digest: str | None = Field(
        default=None, description="Digest of its image, where it may be cached.", max_length=135
    )
    cache_message: str | None = Field(
        default=None,
        description="Why a step that may be cached runs all the same, or is not kept in the cache.",
        max_length=256,
    )
    log_tail: str | None = Field(default=None, description="Last lines of the log of a failed step.", max_length=1024)
    log_uri: str | None = Field(
        default=None,
        validation_alias="logURI",
        serialization_alias="logURI",
        description="Where the log of the latest attempt is kept in the artifact store, once that has ended.",
        max_length=2048,
    )
    previous_attempts: Annotated[tuple[AttemptStatus, ...], Field(max_length=128)] | None = Field(
        default=None,
        description="The attempts before the latest one, oldest first.",
        json_schema_extra=list_map("number"),
    )
    artifacts: Annotated[tuple[ArtifactStatus, ...], Field(max_length=32)] | None = Field(
        default=None, description="Outputs that are kept in the artifact store.", json_schema_extra=list_map("name")
    )
    results: Annotated[tuple[ResultStatus, ...], Field(max_length=32)] | None = Field(
        default=None, description="Small values that the step wrote.", json_schema_extra=list_map("name")
    )


class ResolvedComponent(Model):
    """A component that the run uses."""

    type: str = Field(description="Its type.", max_length=63)
    name: str = Field(description="Its name.", max_length=253)
    flavor: str = Field(description="Its flavor.", max_length=63)


class ResolvedStack(Model):
    """The stack as it was when the run started."""

    name: str = Field(
        description="Name of the Stack; `default` where none was named and none is the default.",
        max_length=253,
    )
    built_in: bool = Field(
        default=False, description="Whether it is the built-in stack, which no Stack object describes."
    )
    digest: str = Field(
        description="Digest of the specs of the stack and its components, the same for the same configuration.",
        max_length=80,
    )
    components: Annotated[tuple[ResolvedComponent, ...], Field(max_length=64)] = Field(
        default=(), description="Its components.", json_schema_extra=list_map("type", "name")
    )


class TrackingStatus(Model):
    """Where the run is recorded."""

    experiment_id: str = Field(
        validation_alias="experimentID",
        serialization_alias="experimentID",
        description="The experiment, by the tracker's own ID.",
        max_length=64,
    )
    run_id: str = Field(
        validation_alias="runID",
        serialization_alias="runID",
        description="The run's record, by the tracker's own ID.",
        max_length=64,
    )
    url: str = Field(description="Where people see it.", max_length=1024)


class OrchestratorRun(Model):
    """The run at an orchestrator that carries it out itself."""

    id: str = Field(description="Its ID there.", max_length=64)
    endpoint: str | None = Field(default=None, description="Address of the server that has it.", max_length=300)
    url: str | None = Field(default=None, description="Where people see it.", max_length=1024)


class StepCounts(Model):
    """How many steps are in each state."""

    pending: int = Field(default=0, description="Waiting for others.", ge=0)
    queued: int = Field(default=0, description="An attempt is decided upon and has not started.", ge=0)
    running: int = Field(default=0, description="Running.", ge=0)
    retrying: int = Field(default=0, description="Waiting for another attempt.", ge=0)
    succeeded: int = Field(default=0, description="Succeeded.", ge=0)
    failed: int = Field(default=0, description="Failed.", ge=0)
    skipped: int = Field(default=0, description="Skipped.", ge=0)
    cached: int = Field(default=0, description="Cached.", ge=0)
    cancelled: int = Field(default=0, description="Cancelled.", ge=0)


class PipelineRunStatus(Model):
    """What became of the run."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="`Succeeded`: Unknown while it runs, then True or False. `Finished`: True at either end. `Tracked`, where "
        "the stack has an experiment tracker: whether all that has happened is recorded there. `Registered`, where artifacts are "
        "to be registered: whether they are. `Reconciling`, until it ends or is suspended. `Stalled`, where it has failed or was "
        "cancelled.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: int | None = Field(
        default=None,
        description="The generation of the spec that the status is about; 0 until the operator has seen it.",
        ge=0,
    )
    start_time: Timestamp | None = Field(default=None, description="When the run was accepted.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended.")
    duration_seconds: int | None = Field(default=None, description="Time from start to end, in seconds.", ge=0)
    stack: ResolvedStack | None = Field(default=None, description="The stack as it was when the run started.")
    pipeline_revision: str | None = Field(
        default=None,
        description="Which version of the Pipeline that `pipelineRef` names the run is of. ControllerRevision "
        "`<run>-<pipelineRevision>` keeps it.",
        max_length=64,
    )
    experiment: str | None = Field(
        default=None,
        description="Experiment that the run is recorded in, where its Pipeline says which.",
        max_length=256,
    )
    orchestrator_run: OrchestratorRun | None = Field(
        default=None, description="The run in Kubeflow Pipelines, where the stack's orchestrator is that."
    )
    tracking: TrackingStatus | None = Field(
        default=None, description="Where the run is recorded, if its stack has an experiment tracker."
    )
    registrations: Annotated[tuple[RegistrationStatus, ...], Field(max_length=MOST_REGISTRATIONS)] | None = Field(
        default=None,
        description="Each artifact that is to be registered, of steps that have succeeded.",
        json_schema_extra=list_map("step", "artifact"),
    )
    steps_summary: str | None = Field(
        default=None, description="Steps that succeeded, of all steps, such as 3/5.", max_length=16
    )
    step_counts: StepCounts | None = Field(default=None, description="How many steps are in each state.")
    steps: Annotated[tuple[StepStatus, ...], Field(max_length=MOST_STEPS + MOST_FINALLY + MOST_INSTANCES)] = Field(
        default=(), description="Each step and what became of it.", json_schema_extra=list_map("name")
    )
