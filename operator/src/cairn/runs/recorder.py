"""Writes the status of runs, and tells what has changed: in metrics and Events, once."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.api.conditions import find_condition
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.time import seconds_between
from cairn.clients import metrics
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import PIPELINE_RUNS, TooLargeError
from cairn.runs.outcome import PENDING, PODS_NOT_ADMITTED, Outcome
from cairn.runs.registration import REGISTERED_CONDITION, REGISTERING
from cairn.runs.states import ENDED
from cairn.runs.status import SUCCEEDED_CONDITION, acknowledged, without_logs
from cairn.runs.stopping import CANCELLED

NO_EVENT = frozenset({"Running"})
"""Reasons that the status tells well enough; an Event is a write that each run would cost."""
TROUBLE = frozenset({PENDING, PODS_NOT_ADMITTED})
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
        was = next((item for item in old.conditions if item.type == SUCCEEDED_CONDITION), None)
        if (was is None or was.reason != outcome.reason) and outcome.reason not in NO_EVENT:
            kind = "Warning" if outcome.status == "False" or outcome.reason in TROUBLE else "Normal"
            await self._cluster.events.record(body, kind, outcome.reason, "Run", outcome.message)
        await self._tell_of_models(body, old, new)
        return written

    async def acknowledge(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Record that a change after the end (of `suspend`, `cancel`) was seen: it changes nothing."""
        generation = int(body["metadata"]["generation"])
        if status.observed_generation != generation:
            await self._patch(body, acknowledged(status, generation), confirm=False)

    async def tell(self, body: JsonObject, old: PipelineRunStatus, new: PipelineRunStatus) -> JsonObject | None:
        """Write what a status says more of a run that has ended: how it is recorded, and what became of its models.

        Return the run; None if it is gone.
        """
        written = await self._patch(body, new, confirm=False)
        if written is not None:
            await self._tell_of_models(body, old, new)
        return written

    async def _tell_of_models(self, body: JsonObject, old: PipelineRunStatus, new: PipelineRunStatus) -> None:
        before, now = (find_condition(status.conditions, REGISTERED_CONDITION) for status in (old, new))
        if now is None or now.reason == REGISTERING or (before is not None and before.reason == now.reason):
            return
        kind = "Warning" if now.status == "False" and now.reason != "NotRegistered" else "Normal"
        await self._cluster.events.record(body, kind, now.reason, "Register", now.message)

    async def _patch(self, body: JsonObject, status: PipelineRunStatus, *, confirm: bool) -> JsonObject | None:
        runs = self._cluster.runs
        return await self._cluster.write_status(PIPELINE_RUNS, runs, body, status.to_json(), confirm=confirm)


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
