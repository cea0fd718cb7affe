"""The kinds as the API server sees them: names, schemas, and the columns of `kubectl get`."""

from __future__ import annotations

from dataclasses import replace

from cairn.api.base import Rule
from cairn.api.crd import Column, Kind
from cairn.api.pipeline import PipelineSpec, PipelineStatus
from cairn.api.pipeline_schedule import PipelineScheduleSpec, PipelineScheduleStatus
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.stack import StackSpec, StackStatus
from cairn.api.stack_component import StackComponentStatus
from cairn.components.configs import spec_model

AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was created.", type="date")


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


def kinds() -> tuple[Kind, ...]:
    """Return the kinds."""
    ready = Column("Ready", _condition("Ready", "status"), "Whether it can be used.")
    ready_reason = Column("Reason", _condition("Ready", "reason"), "The cause in one word.")
    ready_reason_wide = replace(ready_reason, wide=True)
    ready_message = Column("Message", _condition("Ready", "message"), "The cause in a sentence.", wide=True)
    return (
        Kind(
            kind="StackComponent",
            plural="stackcomponents",
            short_names=["component", "components"],
            description="StackComponent is one configured tool: an orchestrator, an artifact store, an experiment tracker. "
            "It is Ready once the operator has seen it work.",
            spec=spec_model(),
            status=StackComponentStatus,
            columns=[
                Column("Type", ".status.type", "The component's type."),
                Column("Flavor", ".status.flavor", "The component's flavor."),
                ready,
                ready_reason,
                AGE,
                Column("Endpoint", ".status.endpoint", "Address of what it stands for.", wide=True),
                Column(
                    "Checked",
                    ".status.lastCheckedTime",
                    "Time since it was last checked.",
                    type="date",
                    wide=True,
                ),
                ready_message,
            ],
        ),
        Kind(
            kind="Stack",
            plural="stacks",
            short_names=["stk"],
            description="Stack is a named set of StackComponents that pipelines run on. It is Ready while every "
            "component is and they fit together.",
            spec=StackSpec,
            status=StackStatus,
            columns=[
                ready,
                Column("Orchestrator", ".status.orchestrator", "The orchestrator's flavor."),
                Column("Artifacts", ".status.artifactStore", "The artifact store's flavor."),
                Column("Tracker", ".status.experimentTracker", "The experiment tracker's flavor."),
                Column("Runs", ".status.activeRuns", "Runs that have not finished.", type="integer"),
                ready_reason,
                AGE,
                Column(
                    "Default",
                    r".metadata.annotations.cairn\.dev/default-stack",
                    "Whether runs without a stackRef use it.",
                    wide=True,
                ),
                ready_message,
            ],
        ),
        Kind(
            kind="Pipeline",
            plural="pipelines",
            short_names=[],
            description="Pipeline is a DAG of container steps with parameters. Each change of it can start a run; a PipelineRun "
            "with pipelineRef runs it too.",
            spec=PipelineSpec,
            status=PipelineStatus,
            columns=[
                ready,
                Column("Policy", ".spec.runPolicy", "What starts a run."),
                Column("Run", ".status.lastRun.name", "The run that a change has started last."),
                Column("Status", ".status.lastRun.reason", "How that run stands."),
                AGE,
                Column("Revision", ".status.revision", "Which version of the pipeline it is.", wide=True),
                ready_reason_wide,
                ready_message,
            ],
            name_rule=Rule(
                "self.size() <= 63 && !self.contains('.')",
                "must have at most 63 characters and no dot: runs are labelled with it",
            ),
        ),
        Kind(
            kind="PipelineSchedule",
            plural="pipelineschedules",
            short_names=["schedule", "schedules"],
            description="PipelineSchedule starts runs of a Pipeline at given times.",
            spec=PipelineScheduleSpec,
            status=PipelineScheduleStatus,
            columns=[
                ready,
                Column("Pipeline", ".spec.pipelineRef.name", "The Pipeline that is run."),
                Column("Schedule", ".spec.schedule", "When it is run."),
                Column("Zone", ".spec.timeZone", "Time zone of that."),
                Column("Suspended", ".spec.suspend", "Whether no run is started.", type="boolean"),
                Column("Active", ".status.activeRuns", "Runs under way.", type="integer"),
                Column("Last", ".status.lastRun.scheduledTime", "Time since the last run's time.", type="date"),
                Column("Status", ".status.lastRun.reason", "How that run stands."),
                AGE,
                Column("Next", ".status.nextScheduleTime", "The next time.", wide=True),
                ready_reason_wide,
                ready_message,
            ],
            name_rule=Rule("self.size() <= 63", "must have at most 63 characters: runs are named and labelled with it"),
        ),
        Kind(
            kind="PipelineRun",
            plural="pipelineruns",
            short_names=["run", "runs"],
            description="PipelineRun is one execution of a pipeline: a DAG of container steps that runs on a Stack.",
            spec=PipelineRunSpec,
            status=PipelineRunStatus,
            columns=[
                Column("Status", _condition("Succeeded", "reason"), "What the run does, or how it ended."),
                Column("Pipeline", ".spec['pipeline','pipelineRef.name']", "The pipeline."),
                Column("Stack", ".status.stack.name", "The stack that it runs on."),
                Column("Steps", ".status.stepsSummary", "Steps that succeeded, of all steps."),
                Column("Seconds", ".status.durationSeconds", "Duration of a finished run.", type="integer"),
                AGE,
                Column("Message", _condition("Succeeded", "message"), "The cause in a sentence.", wide=True),
                Column("Registered", _condition("Registered", "reason"), "What became of its models.", wide=True),
                Column("Record", ".status.tracking.url", "Where the experiment tracker shows the run.", wide=True),
            ],
        ),
    )
