"""Looks after runs that have ended: deletes what is left of them, in its time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.pipelinerun import pipeline_of
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster, stack_of
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, Resource
from cairn.clients.store import key_of
from cairn.runs import naming
from cairn.runs.attempts import owned_by, run_index
from cairn.runs.needed import store_of
from cairn.runs.retention import Retention, beyond_history, jobs_expire, recording_expires, run_expires

SPARED = timedelta(seconds=10)
"""How long a run is spared that expires while another one waits to take steps over from it."""


class FinishedRuns:
    """Deletes runs and Jobs that are not kept any longer. What they have ended with is recorded by then."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._counted: dict[tuple[str, str, str], tuple[Retention, str]] = {}
        """By namespace, stack and pipeline: what was kept when its runs were counted last, and the end of the newest."""

    async def look_after(self, run: JsonObject) -> float | None:
        """Delete what is due; return in how many seconds to look at the run again."""
        namespace, name = key_of(run)
        stack_name = stack_of(run)
        stack = self._cluster.stacks.get((namespace, stack_name)) if stack_name is not None else None
        retention, now = Retention.of(stack), self._clock.now()
        expires = run_expires(run)
        if expires is not None and now >= expires:
            expires = self._spared_until(run, now)
            if expires is None:
                await self._cluster.kubernetes.delete(PIPELINE_RUNS, namespace, name, uid=run["metadata"]["uid"])
                return None
        spares = await self._delete_beyond_history(run, stack_name, retention) if stack_name is not None else None
        due = [moment for moment in (expires, spares) if moment is not None]
        workloads = [resource for resource in (JOBS, PODS) if self._has(resource, run)]
        jobs_due = jobs_expire(run, retention)
        if workloads and now < jobs_due:
            due.append(jobs_due)
        elif workloads:
            for resource in workloads:
                selector = naming.selector_of_run(name)
                await self._cluster.kubernetes.delete_all(resource, namespace, selector=selector)
        return self._clock.seconds_until(min(due)) if due else None

    async def _delete_beyond_history(self, run: JsonObject, stack: str, retention: Retention) -> datetime | None:
        """Delete the runs that are too many, unless they were counted since this one has ended: there may be thousands.

        Return until when some are spared; None where none is.
        """
        if retention.successful_runs is None and retention.failed_runs is None:
            return None
        namespace, pipeline = run["metadata"]["namespace"], pipeline_of(run)
        last = self._counted.get((namespace, stack, pipeline))
        if last is not None and last[0] == retention and run["status"]["completionTime"] < last[1]:
            return None
        runs = self._cluster.runs.indexed(namespace, stack)
        spared_until = await self.delete(beyond_history(runs, pipeline, retention))
        if spared_until is None:
            ends = [(item.get("status") or {}).get("completionTime") or "" for item in runs]
            self._counted[namespace, stack, pipeline] = (retention, max(ends))
        return spared_until

    async def delete(self, runs: Iterable[JsonObject]) -> datetime | None:
        """Delete runs that have ended and are more than are kept; return until when some are spared, None where none is."""
        now, moments = self._clock.now(), list[datetime]()
        for run in runs:
            until = self._spared_until(run, now)
            if until is not None:
                moments.append(until)
                continue
            await self._cluster.kubernetes.delete(PIPELINE_RUNS, *key_of(run), uid=run["metadata"]["uid"])
        return min(moments, default=None)

    def _spared_until(self, run: JsonObject, now: datetime) -> datetime | None:
        """Return until when a run is spared that would be deleted; None where it is not."""
        if self._is_waited_for(run):
            return now + SPARED
        until = recording_expires(run)
        return until if until is not None and now < until else None

    def _is_waited_for(self, run: JsonObject) -> bool:
        """Return whether another run, which has not started yet, takes steps over from this one."""
        namespace, name = key_of(run)
        return any(
            (other["spec"].get("rerunOf") or {}).get("name") == name
            and other["metadata"]["namespace"] == namespace
            and (other.get("status") or {}).get("startTime") is None
            for other in self._cluster.runs
        )

    def _has(self, resource: Resource, run: JsonObject) -> bool:
        """Return whether there are Jobs, or pods without one, of the run."""
        workloads = store_of(self._cluster, resource).indexed(*run_index(run))
        return any(owned_by(item, run["metadata"]["uid"]) and not is_being_deleted(item) for item in workloads)
