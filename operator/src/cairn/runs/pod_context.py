"""What the pods of a run are made from, and which steps share one. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import pipeline_of
from cairn.api.pipelinerun_status import StepStatus
from cairn.runs import naming
from cairn.runs.gathering import artifacts_by_step, results_by_step
from cairn.runs.instances import RunSteps
from cairn.runs.pod import PodContext, TransferImage, pod_settings, step_template
from cairn.runs.references import Values
from cairn.runs.scheduling import OneJobPerStep, OnePodForAll, Scheduler
from cairn.stacks.resolution import UsableStack


def identity(body: JsonObject) -> naming.RunIdentity:
    """Return which run an object is."""
    metadata = body["metadata"]
    return naming.RunIdentity(metadata["namespace"], metadata["name"], metadata["uid"], pipeline_of(body))


def scheduler_of(steps: RunSteps, stack: UsableStack, body: JsonObject) -> Scheduler:
    """Return what decides which steps start together on that stack."""
    limit = stack.orchestrator.max_parallel_steps
    if limit is not None:
        return OneJobPerStep(limit)
    context = pod_context_of(body, steps, (), stack, TransferImage(""))
    return OnePodForAll({name: pod_settings(step_template(context, step)) for name, step in steps.graph.steps.items()})


def pod_context_of(
    body: JsonObject, steps: RunSteps, statuses: Iterable[StepStatus], stack: UsableStack, transfer: TransferImage
) -> PodContext:
    """Return what the pods of a run's attempts are made from; without statuses, nothing is known of inputs."""
    run, spec = identity(body), steps.spec
    states = {step.name: step for step in statuses}
    results = results_by_step(steps, states) if states else {}
    return PodContext(
        run=run,
        stack=stack,
        run_template=spec.pod_template,
        parameters=spec.parameters or (),
        values=Values(spec.parameter_values, run.name, run.uid, results),
        artifacts=artifacts_by_step(steps, states) if states else {},
        transfer=transfer,
        work_size=stack.orchestrator.workspace_size,
    )
