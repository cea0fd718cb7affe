"""Of which changes of a run's conditions there are Events: those that are not its ordinary course, and its end. Pure."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.clients.condition_events import EventType, Told, failures_warn
from cairn.runs.outcome import PENDING, PODS_NOT_ADMITTED, RUNNING
from cairn.runs.registration import NOT_REGISTERED, REGISTERED_CONDITION, REGISTERING
from cairn.runs.status import SUCCEEDED_CONDITION
from cairn.runs.tracking_status import TRACKED_CONDITION

TROUBLE = frozenset({PENDING, PODS_NOT_ADMITTED})
"""Reasons of a run that goes on when somebody does something."""


def _succeeded_event(before: JsonObject | None, now: JsonObject) -> EventType | None:
    """Return as what is told how a run stands; not that it runs: an Event is a write that each run would cost."""
    if now["reason"] == RUNNING:
        return None
    return "Warning" if now["reason"] in TROUBLE else failures_warn(before, now)


def _tracked_event(before: JsonObject | None, now: JsonObject) -> EventType | None:
    """Return as what is told that a run cannot be recorded, or can be again."""
    is_mended = before is not None and before["status"] == "False"
    return failures_warn(before, now) if now["status"] == "False" or is_mended else None


def _registered_event(before: JsonObject | None, now: JsonObject) -> EventType | None:
    """Return as what is told what becomes of a run's models; that none was to be registered is no failure."""
    if now["reason"] == REGISTERING:
        return None
    return "Normal" if now["reason"] == NOT_REGISTERED else failures_warn(before, now)


TOLD = (
    Told(SUCCEEDED_CONDITION, "Run", _succeeded_event),
    Told(TRACKED_CONDITION, "Track", _tracked_event),
    Told(REGISTERED_CONDITION, "Register", _registered_event),
)
"""`Finished` says nothing that `Succeeded` does not."""
