"""Conditions, as the Kubernetes API conventions define them.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from cairn.api.base import JsonObject, Model, Timestamp

ConditionStatus = Literal["True", "False", "Unknown"]
Progress = Literal["Reconciling", "Stalled"]
"""Conditions that are there only while they are True: the operator is at work, or comes no further (docs/decisions/0012).

https://github.com/kubernetes-sigs/cli-utils/blob/v0.37.2/pkg/kstatus/README.md
"""
RECONCILING: Progress = "Reconciling"
STALLED: Progress = "Stalled"
INVALID_SPEC = "InvalidSpec"
"""Reason, of every kind, of a spec that this operator cannot carry out."""


class Condition(Model):
    """One aspect of the object's state."""

    type: str = Field(description="What the condition is about.", min_length=1, max_length=63)
    status: ConditionStatus = Field(description="Whether it holds: True, False or Unknown.")
    reason: str = Field(
        description="The cause in one CamelCase word, for programs.",
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    )
    message: str = Field(description="The cause in a sentence, with the next action, for people.", max_length=4096)
    last_transition_time: Timestamp = Field(description="When the status last changed.")
    observed_generation: int = Field(description="The generation of the spec that this is about.", ge=0)


def set_condition(
    conditions: Iterable[Condition],
    type_: str,
    *,
    status: ConditionStatus,
    reason: str,
    message: str,
    generation: int,
    now: str,
) -> list[Condition]:
    """Return the conditions with one of them set; its transition time moves only when its status does."""
    kept = list(conditions)
    old = find_condition(kept, type_)
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message[:4096],
        last_transition_time=old.last_transition_time if old and old.status == status else now,
        observed_generation=generation,
    )
    if old is None:
        return [*kept, new]
    return [new if condition.type == type_ else condition for condition in kept]


def with_progress(
    conditions: Iterable[Condition], progress: Progress | None, told_by: str, now: str
) -> list[Condition]:
    """Return the conditions with that of `Reconciling` and `Stalled` which holds, in the words of the condition `told_by`."""
    kept = [condition for condition in conditions if condition.type not in {RECONCILING, STALLED} - {progress}]
    cause = find_condition(kept, told_by)
    if progress is None or cause is None:
        return kept
    return set_condition(
        kept,
        progress,
        status="True",
        reason=cause.reason,
        message=cause.message,
        generation=cause.observed_generation,
        now=now,
    )


def find_condition(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def condition_of(body: JsonObject, type_: str) -> JsonObject | None:
    """Return a condition of an object as the API server has it, or None."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == type_), None)
