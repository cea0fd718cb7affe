"""What a run's status says of how it is recorded. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cairn.api.base import JsonObject
from cairn.api.conditions import ConditionStatus, condition_of, find_condition, set_condition
from cairn.api.pipelinerun_status import PipelineRunStatus, TrackingStatus
from cairn.components.records import TrackerError

TRACKED_CONDITION = "Tracked"
RECORDING = "Recording"
RECORDED = "Recorded"


@dataclass(frozen=True)
class TrackingState:
    """How far a run is recorded."""

    place: TrackingStatus | None
    """Where; None while the tracker has nothing of it."""
    problem: TrackerError | None
    """Why not everything is recorded that has happened, where people are to be told."""
    is_recorded: bool
    """Whether the run has ended, and all of it is recorded."""


def with_tracking(status: PipelineRunStatus, state: TrackingState, generation: int, now: str) -> PipelineRunStatus:
    """Return a run's status with what is to be told of how it is recorded."""
    told = _condition(state, has_ended=status.completion_time is not None)
    known = find_condition(status.conditions, TRACKED_CONDITION)
    if told is None or (known is not None and known.reason == RECORDED):
        return status
    condition, reason, message = told
    conditions = set_condition(
        status.conditions,
        TRACKED_CONDITION,
        status=condition,
        reason=reason,
        message=message,
        generation=generation,
        now=now,
    )
    return status.model_copy(update={"conditions": tuple(conditions), "tracking": state.place or status.tracking})


def _condition(state: TrackingState, *, has_ended: bool) -> tuple[ConditionStatus, str, str] | None:
    """Return status, reason and message; None while there is nothing to tell yet."""
    if state.problem is not None:
        later = "What is missing is recorded as soon as it can be."
        return "False", state.problem.reason, f"{state.problem.message} {later}"
    if state.is_recorded:
        return "True", RECORDED, "All of the run is recorded."
    if state.place is not None:
        return "True", RECORDING, "What has happened so far is recorded."
    if has_ended:
        return "Unknown", RECORDING, "The experiment tracker has not answered yet."
    return None


def is_to_be_recorded(run: JsonObject) -> bool:
    """Return whether a run that has ended is not recorded as a whole."""
    condition = condition_of(run, TRACKED_CONDITION)
    return condition is not None and condition["reason"] != RECORDED
