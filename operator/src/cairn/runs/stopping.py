"""Why a run starts nothing more, and whether it stops what runs. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.time import RESOLUTION, parse
from cairn.runs.states import ENDED

CANCELLED = "Cancelled"
RUN_TIMED_OUT = "RunTimedOut"
FAILURE_POLICY = "FailurePolicy"
DEADLINE_EXCEEDED = "DeadlineExceeded"
STOP_REASONS = frozenset({CANCELLED, RUN_TIMED_OUT, FAILURE_POLICY, DEADLINE_EXCEEDED})
"""Reasons of a step that is being stopped; recorded before it is, so that it is known afterwards why it ended."""


RunState = Literal["Succeeded", "Failed", "Cancelled", "TimedOut"]
"""What `run.state` is to a `when` of `finally`."""
WAS_CANCELLED = "The run was cancelled."


@dataclass(frozen=True)
class Halt:
    """Nothing new starts any more."""

    reason: str
    message: str
    stops_running: bool = True
    """Whether what runs is stopped."""
    immediately: bool = False
    """Whether the run does not wait for what it stops."""

    @property
    def is_failure(self) -> bool:
        """Whether it follows from a step's failure, not from a request or the time."""
        return self.reason == FAILURE_POLICY


def run_deadline(spec: RunSpec, start_time: str | None) -> datetime | None:
    """Return when the run has taken too long, or None."""
    if spec.timeout_seconds is None or start_time is None:
        return None
    return parse(start_time) + timedelta(seconds=spec.timeout_seconds) + RESOLUTION


def taken_too_long(spec: RunSpec) -> str:
    """Return the sentence about a run that has timed out."""
    return f"The run has taken longer than its timeoutSeconds ({spec.timeout_seconds})."


def halt_of(spec: RunSpec, steps: Collection[StepStatus], start_time: str | None, now: datetime) -> Halt | None:
    """Return why nothing new starts, or None while the run goes on.

    Once a step has been stopped for the run's time, that stays the reason, whatever the clock says later; and a cancelled
    run that is still stopping does not time out.
    """
    immediately = spec.cancel == "Immediate"
    deadline = run_deadline(spec, start_time)
    late = deadline is not None and now >= deadline and spec.cancel is None and any(s.state not in ENDED for s in steps)
    if late or any(step.reason == RUN_TIMED_OUT for step in steps):
        return Halt(RUN_TIMED_OUT, taken_too_long(spec), immediately=immediately)
    if spec.cancel is not None:
        return Halt(CANCELLED, WAS_CANCELLED, immediately=immediately)
    failed = [step.name for step in steps if step.state == "Failed"]
    if failed and spec.failure_policy != "ContinueOnFailure":
        message = f"Step {failed[0]} failed, and the run's failurePolicy is {spec.failure_policy}."
        return Halt(FAILURE_POLICY, message, stops_running=spec.failure_policy == "FailFast")
    return None


def is_suspended(spec: RunSpec, halt: Halt | None) -> bool:
    """Return whether a run is suspended; one that is cancelled, or has timed out, is to end nevertheless."""
    return spec.suspend and (halt is None or halt.is_failure)


def run_state(spec: RunSpec, steps: Collection[StepStatus]) -> RunState:
    """Return what the steps of a run amount to, all of them having ended."""
    if any(step.reason == RUN_TIMED_OUT for step in steps):
        return "TimedOut"
    if spec.cancel is not None:
        return "Cancelled"
    return "Failed" if any(step.state == "Failed" for step in steps) else "Succeeded"
