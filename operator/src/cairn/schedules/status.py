"""What a PipelineSchedule's status says of its times. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from cairn.api.base import JsonObject
from cairn.api.conditions import Condition, find_condition, set_condition
from cairn.api.pipeline_schedule import (
    SCHEDULED_TIME_ANNOTATION,
    PipelineScheduleSpec,
    PipelineScheduleStatus,
    ScheduledRun,
)
from cairn.api.time import parse, timestamp
from cairn.clients.condition_events import EventType, Told

SUSPENDED = "Suspended"


def _suspended_event(before: JsonObject | None, now: JsonObject) -> EventType | None:
    """Return as what is told that a schedule is suspended, or goes on; that a new one does is nothing to tell."""
    return "Normal" if before is not None or now["status"] == "True" else None


SUSPENDED_TOLD = Told(SUSPENDED, "Suspend", _suspended_event)


def counted_from(
    old: PipelineScheduleStatus, body: JsonObject, spec: PipelineScheduleSpec, now: datetime
) -> PipelineScheduleStatus:
    """Return the status with the moment that the schedule's times count from: later ones that were missed are caught up."""
    observed = f"{spec.schedule} {spec.time_zone}"
    suspended = find_condition(old.conditions, SUSPENDED)
    is_resumed = suspended is not None and suspended.status == "True" and not spec.suspend
    if not old.conditions:  # it is seen for the first time
        since = body["metadata"]["creationTimestamp"]
    elif old.active_since is None or old.observed_schedule != observed or is_resumed:
        since = timestamp(now)
    else:
        since = old.active_since
    return old.model_copy(update={"active_since": since, "observed_schedule": observed})


def with_newest_run(status: PipelineScheduleStatus, runs: Iterable[JsonObject]) -> PipelineScheduleStatus:
    """Return the status with the newest of the schedule's runs, which an operator may have started before it died."""
    times = {
        run["metadata"]["annotations"][SCHEDULED_TIME_ANNOTATION]: run["metadata"]["name"]
        for run in runs
        if SCHEDULED_TIME_ANNOTATION in (run["metadata"].get("annotations") or {})
    }
    if not times:
        return status
    newest = max(times, key=parse)
    last = status.last_run
    if last is not None and parse(last.scheduled_time) >= parse(newest):
        return status
    run = ScheduledRun(name=times[newest], scheduled_time=newest)
    settled = max((newest, *filter(None, [status.last_schedule_time])), key=parse)
    return status.model_copy(update={"last_run": run, "last_schedule_time": settled})


def settled_until(status: PipelineScheduleStatus) -> datetime:
    """Return the newest moment up to which all times are dealt with."""
    return max(parse(text) for text in (status.active_since, status.last_schedule_time) if text is not None)


def with_suspended(conditions: Sequence[Condition], generation: int, now: str, *, suspended: bool) -> list[Condition]:
    """Return the conditions, with whether the schedule is suspended."""
    return set_condition(
        conditions,
        SUSPENDED,
        status="True" if suspended else "False",
        reason="Suspended" if suspended else "Active",
        message="No run is started; set spec.suspend to false to go on." if suspended else "Runs are started.",
        generation=generation,
        now=now,
    )
