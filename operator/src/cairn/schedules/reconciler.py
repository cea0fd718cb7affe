"""Keeps PipelineSchedules: starts a run at each of their times, and deletes the runs that are not kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.conditions import INVALID_SPEC, find_condition
from cairn.api.deletion import is_being_deleted
from cairn.api.pipeline import PipelineSpec
from cairn.api.pipeline_schedule import PipelineScheduleSpec, PipelineScheduleStatus, ScheduledRun
from cairn.api.time import timestamp
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.condition_events import Told
from cairn.clients.kubernetes import PIPELINE_RUNS, PIPELINE_SCHEDULES
from cairn.clients.store import Key, key_of
from cairn.pipelines.started_runs import (
    IN_THE_WAY_SECONDS,
    LAST_RUN_SUCCEEDED,
    LAST_RUN_TOLD,
    READY,
    REFUSED_SECONDS,
    RUN_REFUSED,
    RunRefusedError,
    Start,
    standing,
    start,
    with_last_run,
    with_ready,
)
from cairn.runs.finished import FinishedRuns
from cairn.runs.outcome import PIPELINE_NOT_READY, Outcome
from cairn.runs.pipeline_parameters import parameter_problems
from cairn.runs.pipeline_validation import InvalidPipelineError, valid_pipeline
from cairn.runs.problem import all_told
from cairn.runs.retention import beyond_limits
from cairn.schedules.decision import Decision, Policy, decide
from cairn.schedules.runs import run_at, run_name, runs_of, values_at
from cairn.schedules.status import SUSPENDED_TOLD, counted_from, settled_until, with_newest_run, with_suspended
from cairn.schedules.times import InvalidScheduleError, Times

PIPELINE_NOT_FOUND = "PipelineNotFound"
SCHEDULED = Outcome("True", "Scheduled", "A run is started at each of its times.")
TOLD = (Told(READY, "Schedule"), SUSPENDED_TOLD, LAST_RUN_TOLD)
"""Of which conditions' changes there are Events."""


@dataclass(frozen=True)
class _Usable:
    """A schedule that runs can be started of."""

    spec: PipelineScheduleSpec
    times: Times
    pipeline: PipelineSpec


class PipelineScheduleReconciler:
    """Reconciles one PipelineSchedule at a time."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._finished = FinishedRuns(cluster, clock)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one PipelineSchedule up to date; return in how many seconds to look at it again."""
        body = self._cluster.schedules.get(key)
        if body is None or is_being_deleted(body):
            return None
        old = PipelineScheduleStatus.model_validate(body.get("status") or {}, extra="ignore")
        try:
            spec = PipelineScheduleSpec.model_validate(body["spec"])
            times = Times(spec.schedule, spec.time_zone)
        except (ValidationError, InvalidScheduleError) as error:
            message = first_problem(error) if isinstance(error, ValidationError) else str(error)
            await self._write(body, old, Outcome("False", INVALID_SPEC, message))
            return None
        now = self._clock.now()
        status = with_newest_run(counted_from(old, body, spec, now), self._runs(body))
        usable, ready = self._usable(body, spec, times, now)
        again = None
        if usable is not None and not spec.suspend:
            try:
                status, again = await self._run_due(body, status, usable, now)
            except RunRefusedError as error:
                ready, again = Outcome("False", RUN_REFUSED, str(error)), REFUSED_SECONDS
        upcoming = None if spec.suspend else times.after(now)
        status = status.model_copy(update={"next_schedule_time": timestamp(upcoming) if upcoming else None})
        await self._write(body, status, ready, suspended=spec.suspend)
        spared = await self._delete_beyond_limits(body, spec)
        due = [self._clock.seconds_until(moment) for moment in (upcoming, spared) if moment is not None]
        return min([*due, *([again] if again is not None else [])], default=None)

    def _usable(
        self, body: JsonObject, spec: PipelineScheduleSpec, times: Times, now: datetime
    ) -> tuple[_Usable | None, Outcome]:
        """Return what runs are started of, and the condition Ready."""
        namespace, name = key_of(body)[0], spec.pipeline_ref.name
        found = self._cluster.pipelines.get((namespace, name))
        if found is None or is_being_deleted(found):
            message = f"There is no Pipeline {namespace}/{name}; create it, or name another in spec.pipelineRef."
            return None, Outcome("False", PIPELINE_NOT_FOUND, message)
        try:
            pipeline = valid_pipeline(found)
        except InvalidPipelineError as error:
            return None, Outcome("False", PIPELINE_NOT_READY, f"Pipeline {name} is not valid: {error}")
        values = values_at(spec, times, now)
        wrong = all_told([*parameter_problems(pipeline.parameters or (), values, name)])
        if wrong is not None:
            return None, Outcome("False", INVALID_SPEC, wrong)
        return _Usable(spec, times, pipeline), SCHEDULED

    async def _run_due(
        self, body: JsonObject, status: PipelineScheduleStatus, usable: _Usable, now: datetime
    ) -> tuple[PipelineScheduleStatus, float | None]:
        """Start what is due; return the status, and when to try again what could not be started."""
        spec, since = usable.spec, settled_until(status)
        is_due = bool(usable.times.between(since, now, 1))
        active = await self._really_active(body) if is_due else []
        deadline = spec.starting_deadline_seconds
        policy = Policy(
            spec.concurrency_policy,
            spec.catch_up,
            timedelta(seconds=deadline) if deadline is not None else None,
        )
        decision = decide(usable.times, policy, since, now, is_active=bool(active))
        if decision.replaces:
            for run in active:
                if "cancel" not in run["spec"]:
                    await self._cluster.kubernetes.merge(PIPELINE_RUNS, *key_of(run), {"spec": {"cancel": "Graceful"}})
        last = status.last_run
        for time in decision.starts:
            name = run_name(key_of(body)[1], time)
            run = run_at(body, spec, usable.pipeline, values_at(spec, usable.times, time), time)
            outcome = await start(self._cluster, run)
            if outcome is Start.IN_THE_WAY:
                return status, IN_THE_WAY_SECONDS
            if outcome is Start.STARTED:
                note = f"Started PipelineRun {name} for {timestamp(time)}."
                await self._cluster.events.record(body, "Normal", "RunStarted", "Start", note)
            last = ScheduledRun(name=name, scheduled_time=timestamp(time))
        await self._tell_of_skipped(body, decision)
        settled = timestamp(decision.settled) if decision.settled is not None else status.last_schedule_time
        return status.model_copy(update={"last_run": last, "last_schedule_time": settled}), None

    async def _tell_of_skipped(self, body: JsonObject, decision: Decision) -> None:
        """Record an Event for each cause for which times were skipped."""
        for why in dict.fromkeys(item.why for item in decision.skipped):
            skipped = [item.time for item in decision.skipped if item.why == why]
            which = (
                timestamp(skipped[-1]) if len(skipped) == 1 else f"{len(skipped)} times up to {timestamp(skipped[-1])}"
            )
            note = f"No run was started for {which}: {why}."
            await self._cluster.events.record(body, "Warning", "RunSkipped", "Start", note)

    def _runs(self, body: JsonObject) -> list[JsonObject]:
        return runs_of(self._cluster.runs.in_namespace(key_of(body)[0]), body)

    def _active(self, body: JsonObject) -> list[JsonObject]:
        return [run for run in self._runs(body) if not (run.get("status") or {}).get("completionTime")]

    async def _really_active(self, body: JsonObject) -> list[JsonObject]:
        """Return the runs that are under way, without those whose deletion no watch has told of."""
        runs = self._cluster.runs
        return [run for run in self._active(body) if await self._cluster.still_there(PIPELINE_RUNS, runs, key_of(run))]

    async def _delete_beyond_limits(self, body: JsonObject, spec: PipelineScheduleSpec) -> datetime | None:
        """Delete the runs that are too many; return until when some of them are spared."""
        beyond = beyond_limits(self._runs(body), spec.successful_runs_history_limit, spec.failed_runs_history_limit)
        return await self._finished.delete(beyond)

    async def _write(
        self, body: JsonObject, status: PipelineScheduleStatus, ready: Outcome, *, suspended: bool | None = None
    ) -> None:
        generation, now = body["metadata"]["generation"], timestamp(self._clock.now())
        conditions = with_ready(status.conditions, ready, generation, now)
        if suspended is not None:
            conditions = with_suspended(conditions, generation, now, suspended=suspended)
        last = status.last_run
        if last is not None:
            known = find_condition(status.conditions, LAST_RUN_SUCCEEDED)
            outcome = standing(self._cluster, key_of(body)[0], last.name, known)
            conditions = with_last_run(conditions, last.name, outcome, generation, now)
            last = last.model_copy(update={"reason": outcome.reason})
        new = status.model_copy(
            update={
                "conditions": tuple(conditions),
                "observed_generation": generation,
                "active_runs": len(self._active(body)),
                "last_run": last,
            }
        )
        await self._cluster.write_status(PIPELINE_SCHEDULES, self._cluster.schedules, body, new.to_json(), tell=TOLD)
