"""Which changes of conditions are told in Events, and as what. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from cairn.api.base import JsonObject

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True)
class ConditionEvent:
    """What is told of a change."""

    type: EventType
    reason: str
    action: str
    note: str


def failures_warn(before: JsonObject | None, now: JsonObject) -> EventType | None:  # noqa: ARG001 - for others it matters
    """Return what is right for most conditions: False is a Warning."""
    return "Warning" if now["status"] == "False" else "Normal"


def _nothing(status: JsonObject) -> object:  # noqa: ARG001 - a default
    return None


@dataclass(frozen=True)
class Told:
    """A condition whose changes are told."""

    type: str
    action: str
    """What the operator does when it finds out, in one CamelCase word."""
    judge: Callable[[JsonObject | None, JsonObject], EventType | None] = failures_warn
    """Returns as what a change is told, from the condition before and now; None where the status tells it well enough."""
    cause: Callable[[JsonObject], object] = _nothing
    """Returns what of a status besides the condition makes it another one, such as what it is about."""


def changes(old: JsonObject, new: JsonObject, told: Iterable[Told]) -> Iterator[ConditionEvent]:
    """Yield what is to be told, one status of an object having taken the place of another."""
    for condition in told:
        before, now = _condition(old, condition.type), _condition(new, condition.type)
        if now is None:
            continue
        if before is not None and not _differs(before, now) and condition.cause(old) == condition.cause(new):
            continue
        type_ = condition.judge(before, now)
        if type_ is not None:
            yield ConditionEvent(type_, now["reason"], condition.action, now["message"])


def _differs(before: JsonObject, now: JsonObject) -> bool:
    """Return whether a condition says something else; of a new spec that is wrong for the same reason, another message is that."""
    if (before["status"], before["reason"]) != (now["status"], now["reason"]):
        return True
    is_of_new_spec = before.get("observedGeneration") != now.get("observedGeneration")
    return is_of_new_spec and now["status"] == "False" and before["message"] != now["message"]


def _condition(status: JsonObject, type_: str) -> JsonObject | None:
    return next((item for item in status.get("conditions") or () if item["type"] == type_), None)
