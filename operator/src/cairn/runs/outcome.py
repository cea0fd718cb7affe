"""What a run's condition `Succeeded` says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cairn.api.conditions import RECONCILING, STALLED, ConditionStatus, Progress
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.observation import POD_DELETED
from cairn.runs.states import ACTIVE, ENDED, SUCCEEDED, TAKEN_OVER
from cairn.runs.stopping import CANCELLED, STOP_REASONS, WAS_CANCELLED, Halt, is_suspended, run_state, taken_too_long

PENDING = "Pending"
"""Reason of a run of which nothing runs, for want of something that a step waits for."""
STACK_NOT_READY = "StackNotReady"
PIPELINE_NOT_READY = "PipelineNotReady"
EARLIER_RUN_NOT_READY = "EarlierRunNotReady"
PODS_NOT_ADMITTED = "PodsNotAdmitted"
RUNNING = "Running"
SUSPENDED = "Suspended"
STOPPING = "Stopping"


@dataclass(frozen=True)
class Outcome:
    """The condition `Succeeded`."""

    status: ConditionStatus
    reason: str
    message: str

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.status != "Unknown"


KEEPING = Outcome("Unknown", RUNNING, "All steps have ended; what they leave is being kept in the artifact store.")


def progress_of(outcome: Outcome) -> Progress | None:
    """Return whether a run goes on or has failed; a suspended one is as its spec wants it to be."""
    if not outcome.finished:
        return None if outcome.reason == SUSPENDED else RECONCILING
    return STALLED if outcome.status == "False" else None


def outcome_of(spec: RunSpec, steps: Sequence[StepStatus], halt: Halt | None, held: str) -> Outcome:
    """Return how the run stands; `held` says why nothing can start, where that is so."""
    if all(step.state in ENDED for step in steps):
        return _end(spec, steps)
    active = [step for step in steps if step.state in ACTIVE]
    if is_suspended(spec, halt) and not active:
        return Outcome("Unknown", SUSPENDED, "The run is suspended; set spec.suspend to false to go on.")
    if halt is not None:
        return Outcome("Unknown", STOPPING, f"{halt.message} {_until_the_end(spec, steps, active, held)}"[:4096])
    if held and not active:
        return Outcome("Unknown", STACK_NOT_READY, held[:4096])
    if failed := _failed(steps):
        message = f"Step {failed[0].name} failed: {failed[0].reason}; independent steps go on."
        return Outcome("Unknown", RUNNING, message)
    troubled = _troubled(steps)
    if troubled is not None:
        goes_on = troubled.state == "Retrying" or any(_runs(step) for step in active)
        return Outcome("Unknown", RUNNING if goes_on else PENDING, _trouble(troubled))
    return Outcome("Unknown", RUNNING, _progress(active))


def _end(spec: RunSpec, steps: Sequence[StepStatus]) -> Outcome:
    match run_state(spec, steps):
        case "TimedOut":
            return Outcome("False", "TimedOut", f"{taken_too_long(spec)} {_unfinished(spec, steps)}"[:4096])
        case "Cancelled":
            return Outcome("False", CANCELLED, f"{WAS_CANCELLED} {_unfinished(spec, steps)}"[:4096])
        case "Failed":
            return Outcome("False", "StepFailed", _failures(steps)[:4096])
        case "Succeeded":
            return Outcome("True", "Completed", _completed(steps))


def _failures(steps: Sequence[StepStatus]) -> str:
    first, *others = _failed(steps)
    also = f" {_other_steps(len(others))} failed too." if others else ""
    return f"Step {first.name} failed: {first.reason}: {first.message}{also}"


def _failed(steps: Sequence[StepStatus]) -> Sequence[StepStatus]:
    """Return the steps that have failed, the first one first."""
    return sorted((step for step in steps if step.state == "Failed"), key=lambda step: step.completion_time or "")


def _completed(steps: Sequence[StepStatus]) -> str:
    skipped = sum(step.state == "Skipped" for step in steps)
    not_run = [
        f"{count} {'was' if count == 1 else 'were'} {what}"
        for count, what in (
            (skipped, "skipped"),
            (sum(step.state == "Cached" for step in steps), "cached"),
            (sum(step.reason == TAKEN_OVER for step in steps), "taken over"),
        )
        if count
    ]
    if skipped:
        told = f"{len(steps) - skipped} of {len(steps)} steps succeeded"
    else:
        told = "The step succeeded" if len(steps) == 1 else f"All {len(steps)} steps succeeded"
    return f"{', '.join((told, *not_run))}."


def _unfinished(spec: RunSpec, steps: Sequence[StepStatus]) -> str:
    """Return how far the steps came of which it was the end; those of `finally` come after that."""
    main = _main(spec, steps)
    return f"{sum(step.state in SUCCEEDED for step in main)} of {len(main)} steps had succeeded."


def _main(spec: RunSpec, steps: Sequence[StepStatus]) -> Sequence[StepStatus]:
    last = {step.name for step in spec.finally_ or ()}
    return [step for step in steps if step.name not in last]


def _until_the_end(spec: RunSpec, steps: Sequence[StepStatus], active: Sequence[StepStatus], held: str) -> str:
    """Return what a run that starts nothing but `finally` any more waits for."""
    troubled = _troubled(steps)
    if troubled is not None and not any(_runs(step) for step in active):
        return _trouble(troubled)
    if not active and any(step.state not in ENDED for step in steps):
        if all(step.state in ENDED for step in _main(spec, steps)):
            return held or "The steps of finally are about to start."
        return "What carries it out is about to end it."
    return _still(active)


def _still(active: Sequence[StepStatus]) -> str:
    return f"Still to end: {_names(active)}." if active else "Nothing runs any more."


def _troubled(steps: Sequence[StepStatus]) -> StepStatus | None:
    """Return the first step that waits for something that is told, or None."""
    return next((step for step in steps if _waits(step)), None)


def _waits(step: StepStatus) -> bool:
    """Return whether a step waits for something that is told: also for what keeps its outputs, when it has ended itself."""
    if step.state == "Running":
        return step.reason is not None and step.reason not in STOP_REASONS | {POD_DELETED}
    return step.state in {"Queued", "Retrying"} and step.reason is not None


def _runs(step: StepStatus) -> bool:
    return step.state == "Running" and not _waits(step)


def _trouble(step: StepStatus) -> str:
    if step.state == "Retrying":
        return f"Step {step.name} is tried again at {step.next_attempt_time}: {step.reason}: {step.message}"[:4096]
    what = "The outputs of step {} are not available yet" if step.state == "Running" else "Step {} waits"
    return f"{what.format(step.name)}: {step.reason}: {step.message}"[:4096]


def _other_steps(count: int) -> str:
    return "1 other step" if count == 1 else f"{count} other steps"


def _progress(active: Sequence[StepStatus]) -> str:
    return f"Steps under way: {_names(active)}." if active else "The next steps are about to start."


def _names(steps: Sequence[StepStatus]) -> str:
    names = ", ".join(step.name for step in steps[:5])
    return f"{names} and {len(steps) - 5} more" if len(steps) > 5 else names
