"""Writes the status of runs, and tells what has changed: in metrics and Events, once."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.time import seconds_between
from cairn.clients import metrics
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import PIPELINE_RUNS, TooLargeError
from cairn.runs.outcome import Outcome
from cairn.runs.states import ENDED
from cairn.runs.status import acknowledged, without_logs
from cairn.runs.stopping import CANCELLED
from cairn.runs.told import TOLD

ENDS = ("Completed", "StepFailed", CANCELLED, "TimedOut", "InvalidSpec")


class RunRecorder:
    """The one writer of runs' status."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        for reason in ENDS:  # Prometheus misses the first of a series that begins with it
            metrics.RUNS_FINISHED.labels(reason=reason)
        for state in ENDED:
            metrics.STEPS_FINISHED.labels(state=state)

    async def write(
        self,
        body: JsonObject,
        old: PipelineRunStatus,
        new: PipelineRunStatus,
        outcome: Outcome,
        *,
        confirm: bool = False,
    ) -> JsonObject | None:
        """Write the status and return the run as it is then; None if it is gone.

        `confirm` asks the API server also when nothing has changed.

        Raises:
            ConflictError: the run has changed since it was read.
        """
        try:
            written = await self._patch(body, new, confirm=confirm)
        except TooLargeError:
            written = await self._patch(body, without_logs(new), confirm=confirm)
        if written is None:
            return None
        _count(old, new, outcome)
        return written

    async def acknowledge(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Record that a change after the end (of `suspend`, `cancel`) was seen: it changes nothing."""
        generation = int(body["metadata"]["generation"])
        if status.observed_generation != generation:
            await self._patch(body, acknowledged(status, generation), confirm=False)

    async def tell(self, body: JsonObject, status: PipelineRunStatus) -> JsonObject | None:
        """Write what a status says more of a run that has ended: how it is recorded, and what became of its models.

        Return the run; None if it is gone.
        """
        return await self._patch(body, status, confirm=False)

    async def _patch(self, body: JsonObject, status: PipelineRunStatus, *, confirm: bool) -> JsonObject | None:
        runs = self._cluster.runs
        return await self._cluster.write_status(PIPELINE_RUNS, runs, body, status.to_json(), tell=TOLD, confirm=confirm)


def _count(old: PipelineRunStatus, new: PipelineRunStatus, outcome: Outcome) -> None:
    """Count what has ended; a written end never changes."""
    before = {step.name: step.state for step in old.steps}
    for step in new.steps:
        if step.state in ENDED and before.get(step.name) != step.state:
            metrics.STEPS_FINISHED.labels(state=step.state).inc()
            if step.start_time and step.completion_time:
                metrics.STEP_SECONDS.observe(seconds_between(step.start_time, step.completion_time))
    if new.completion_time is not None:
        metrics.RUNS_FINISHED.labels(reason=outcome.reason).inc()
        metrics.RUN_SECONDS.observe(new.duration_seconds or 0)
