"""Runs that are started for a Pipeline or a PipelineSchedule: made once, and followed to their ends."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from cairn.api.base import JsonObject
from cairn.api.conditions import INVALID_SPEC, STALLED, Condition, Progress, condition_of, set_condition, with_progress
from cairn.api.deletion import is_being_deleted
from cairn.api.ownership import controller_of
from cairn.clients.cluster import Cluster
from cairn.clients.condition_events import EventType, Told, failures_warn
from cairn.clients.kubernetes import PIPELINE_RUNS, AlreadyExistsError, ForbiddenError, InvalidError
from cairn.clients.store import key_of
from cairn.runs.outcome import RUNNING, Outcome
from cairn.runs.status import SUCCEEDED_CONDITION

READY, LAST_RUN_SUCCEEDED = "Ready", "LastRunSucceeded"
UNDER_WAY = "It is under way."
STARTING = Outcome("Unknown", "Pending", "It is about to start.")
RUN_DELETED = "RunDeleted"
DELETED = Outcome("Unknown", RUN_DELETED, "It was deleted before it had ended.")
IN_THE_WAY_SECONDS = 5.0
"""How soon it is looked again whether a run is gone whose name a new one needs."""
RUN_REFUSED = "RunRefused"
REFUSED_SECONDS = 30.0
"""How soon a run is tried again that the API server has refused, such as for a quota."""


class RunRefusedError(Exception):
    """The API server does not take a run; the message says why."""


class Start(Enum):
    """What became of starting a run."""

    STARTED = auto()
    WAS_THERE = auto()
    """It was started before, by an operator that could not record it."""
    IN_THE_WAY = auto()
    """A run of that name is about to go, with an earlier object of its owner's name."""


async def start(cluster: Cluster, run: JsonObject) -> Start:
    """Create a run whose name follows from what it is for, so that it is created once.

    Raises:
        RunRefusedError: the API server refuses it.
    """
    try:
        cluster.runs.put(await cluster.kubernetes.create(PIPELINE_RUNS, key_of(run)[0], run))
    except AlreadyExistsError:
        found = await cluster.kubernetes.get(PIPELINE_RUNS, *key_of(run))
        cluster.runs.put(found)
        owner, own = controller_of(found), controller_of(run)
        of_another = owner is not None and own is not None and owner["uid"] != own["uid"]
        return Start.IN_THE_WAY if of_another or is_being_deleted(found) else Start.WAS_THERE
    except (ForbiddenError, InvalidError) as error:
        message = f"The API server refuses PipelineRun {run['metadata']['name']}: {error.message}"
        raise RunRefusedError(message[:4096]) from error
    return Start.STARTED


def standing(cluster: Cluster, namespace: str, name: str, known: Condition | None) -> Outcome:
    """Return how a run stands; one that is gone has ended as was known of it."""
    run = cluster.runs.get((namespace, name))
    if run is not None:
        seen = condition_of(run, SUCCEEDED_CONDITION)
        if seen is None:
            return STARTING
        # which steps are under way is told by the run itself: telling it here too would cost a write for each
        message = UNDER_WAY if seen["reason"] == RUNNING else seen["message"]
        return Outcome(seen["status"], seen["reason"], message)
    if known is None or not known.message.startswith(f"{name}: ") or known.status == "Unknown":
        return DELETED
    return Outcome(known.status, known.reason, known.message.removeprefix(f"{name}: "))


def with_ready(conditions: Iterable[Condition], ready: Outcome, generation: int, now: str) -> list[Condition]:
    """Return the conditions, with whether runs can be started."""
    told = set_condition(
        conditions,
        READY,
        status=ready.status,
        reason=ready.reason,
        message=ready.message,
        generation=generation,
        now=now,
    )
    return with_progress(told, progress_of(ready), READY, now)


def progress_of(ready: Outcome) -> Progress | None:
    """Return whether only another spec can make a Pipeline or PipelineSchedule Ready; how its runs end is no part of that."""
    return STALLED if ready.reason == INVALID_SPEC else None


def with_last_run(
    conditions: Iterable[Condition], name: str, outcome: Outcome, generation: int, now: str
) -> list[Condition]:
    """Return the conditions, with how the last run stands."""
    return set_condition(
        conditions,
        LAST_RUN_SUCCEEDED,
        status=outcome.status,
        reason=outcome.reason,
        message=f"{name}: {outcome.message}",
        generation=generation,
        now=now,
    )


def _last_run_event(before: JsonObject | None, now: JsonObject) -> EventType | None:
    """Return as what is told how the last run has ended; how it goes on, it tells itself."""
    return failures_warn(before, now) if now["status"] != "Unknown" or now["reason"] == RUN_DELETED else None


def _last_run_name(status: JsonObject) -> object:
    return (status.get("lastRun") or {}).get("name")


LAST_RUN_TOLD = Told(LAST_RUN_SUCCEEDED, "Run", _last_run_event, _last_run_name)
"""The Events of how runs have ended that were started for a Pipeline or a PipelineSchedule."""
