"""Which times of a schedule are run now, which are skipped, and which wait. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cairn.api.pipeline_schedule import MOST_MISSED, CatchUp, ConcurrencyPolicy
from cairn.schedules.times import Times

ON_TIME = timedelta(seconds=60)
"""How late a time may be that was not missed."""


@dataclass(frozen=True)
class Policy:
    """What a schedule says about times that cannot be run when they come."""

    concurrency: ConcurrencyPolicy = "Forbid"
    catch_up: CatchUp = "Latest"
    deadline: timedelta | None = None


@dataclass(frozen=True)
class Skipped:
    """A time that is not run."""

    time: datetime
    why: str


@dataclass(frozen=True)
class Decision:
    """What to do now."""

    starts: Sequence[datetime] = ()
    """Times to run, oldest first."""
    skipped: Sequence[Skipped] = ()
    replaces: bool = False
    """Whether the runs under way are cancelled."""
    settled: datetime | None = None
    """The newest time that is done with; None where none is."""


def decide(times: Times, policy: Policy, since: datetime, now: datetime, *, is_active: bool) -> Decision:
    """Return what becomes of the times since a moment, given whether a run of the schedule is under way."""
    due = times.between(since, now, MOST_MISSED)
    late = [] if policy.deadline is None else [time for time in due if now - time > policy.deadline]
    skipped = [Skipped(time, "its starting deadline has passed") for time in late]
    left = due[len(late) :]
    missed = _not_caught_up(left, policy.catch_up, now)
    skipped += [Skipped(time, f"it was missed, and catchUp is {policy.catch_up}") for time in missed]
    left = [time for time in left if time not in missed]
    if policy.concurrency == "Allow":
        return _decision(left, skipped)
    if policy.concurrency == "Replace":
        skipped += [Skipped(time, "a later run replaces its run") for time in left[:-1]]
        return _decision(left[-1:], skipped, replaces=bool(left) and is_active)
    waits = policy.catch_up == "All"
    if not is_active:
        return _decision(left[:1], skipped if waits else [*skipped, *map(_one_is_active, left[1:])])
    return _decision([], skipped if waits else [*skipped, *map(_one_is_active, left)])


def _decision(starts: Sequence[datetime], skipped: Sequence[Skipped], *, replaces: bool = False) -> Decision:
    settled = max([*starts, *(item.time for item in skipped)], default=None)
    return Decision(starts, sorted(skipped, key=lambda item: item.time), replaces, settled)


def _not_caught_up(due: Sequence[datetime], catch_up: CatchUp, now: datetime) -> set[datetime]:
    match catch_up:
        case "All":
            return set()
        case "Latest":
            return set(due[:-1])
        case "None":
            return {time for time in due if now - time > ON_TIME}


def _one_is_active(time: datetime) -> Skipped:
    return Skipped(time, "an earlier run is under way, and concurrencyPolicy is Forbid")
