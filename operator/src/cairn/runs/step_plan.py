"""What becomes of one step. Pure.

A step's life: Pending; then, for each attempt, Queued and Running; after one that did not succeed, Retrying or Failed; else
Succeeded. Skipped when its `when` is false, a step that it needs did not succeed, or nothing new starts; Cached when what the
same step has written before is used; Cancelled when it was stopped.
What the status records as ended never changes again, and what it records of an attempt was recorded before it was acted upon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cairn.api.pipelinerun_status import ArtifactStatus, ResultStatus, StepState, StepStatus
from cairn.api.step import Step
from cairn.api.time import RESOLUTION, parse, timestamp
from cairn.runs.cache_record import CacheRecord
from cairn.runs.observation import JOB_DELETED, POD_DELETED, AttemptObservation, Fault, Phase
from cairn.runs.readiness import Settled
from cairn.runs.retry import after_end, next_attempt, without_latest_attempt
from cairn.runs.states import ACTIVE, ENDED
from cairn.runs.stopping import DEADLINE_EXCEEDED, Halt

PENDING_TIMEOUT = "PendingTimeout"
POD_NOT_CREATED = "PodNotCreated"
"""The Job controller has more to do than it gets done, or is away: that is no reason to give an attempt up."""

_STATES: Mapping[Phase, StepState] = {
    Phase.WAITING: "Queued",
    Phase.RUNNING: "Running",
    Phase.SUCCEEDED: "Succeeded",
    Phase.FAILED: "Failed",
}


@dataclass(frozen=True)
class Refusal:
    """Why an attempt could not be created: the API server's answer."""

    reason: str
    message: str
    final: bool = False
    """Whether another try can only end alike."""


@dataclass(frozen=True)
class Situation:
    """What a step finds itself in."""

    now: datetime
    halt: Halt | None
    starts: bool
    """Whether attempts are made: not while the run is suspended, nor without a stack."""
    attempt: AttemptObservation | None
    """The step's latest attempt, as its Job and pod show it."""
    refusal: Refusal | None
    """Why that could not be created just now."""
    settled: Settled | None
    """How it ends if no attempt of it was made."""
    cached: CacheRecord | None = None
    """What can be used in its place."""
    may_begin: bool = False
    """Whether the orchestrator may begin with it though a halt speaks against that, since it has not ended the run yet."""


def advance(step: Step, recorded: StepStatus, situation: Situation) -> StepStatus:
    """Return the step's status as it is now."""
    if recorded.state in ENDED:
        return recorded
    if situation.attempt is not None and not is_over(recorded, situation.attempt.number):
        return _under_way(step, recorded, situation.attempt, situation)
    if recorded.state in ACTIVE:
        return _unobserved(step, recorded, situation)
    if recorded.state == "Retrying" and situation.attempt is not None and situation.attempt.is_last:
        return _not_tried_again(recorded, situation)
    return _waiting(recorded, situation)


def is_over(status: StepStatus, number: int) -> bool:
    """Return whether the status says that an attempt has ended."""
    if status.state in ENDED or number < status.attempts:
        return True
    return status.state == "Retrying" and number == status.attempts


def has_succeeded(status: StepStatus, number: int) -> bool:
    """Return whether the status says that this attempt has succeeded."""
    return status.state == "Succeeded" and number == status.attempts


def pending_deadline(step: Step, status: StepStatus, attempt: AttemptObservation | None = None) -> datetime | None:
    """Return until when an attempt that is queued must have started, or that has ended what keeps its outputs must have.

    What counts begins with its pod, once there is one; the time in which its inputs are fetched does not.
    """
    timeout = timedelta(seconds=step.pending_timeout_seconds) + RESOLUTION
    if attempt is not None and attempt.kept_up_since is not None:
        return parse(attempt.kept_up_since) + timeout
    if status.state != "Queued" or status.queued_time is None:
        return None
    if attempt is not None and (attempt.fetching or attempt.awaits_turn):
        return None
    queued = parse(status.queued_time)
    if attempt is None:
        return queued + timeout
    return max(queued, parse(attempt.pod_created or status.queued_time)) + timeout + attempt.fetched_for


def running_deadline(step: Step, status: StepStatus) -> datetime | None:
    """Return until when an attempt that runs must have ended."""
    if status.state != "Running" or status.start_time is None or step.timeout_seconds is None:
        return None
    return parse(status.start_time) + timedelta(seconds=step.timeout_seconds) + RESOLUTION


def _under_way(step: Step, recorded: StepStatus, attempt: AttemptObservation, situation: Situation) -> StepStatus:
    is_new = attempt.number > recorded.attempts
    if is_new and not attempt.has_own_pod and attempt.phase is Phase.WAITING and attempt.reason is None:
        return _waiting(recorded, situation)  # its turn in a pod that steps share has not come
    begun = next_attempt(recorded, attempt.number, _made_at(attempt, situation.now)) if is_new else recorded
    status = _observed(begun, attempt)
    if attempt.phase is Phase.SUCCEEDED:
        return status
    if attempt.phase is Phase.FAILED:
        return _failed(step, begun, status, attempt.fault or Fault.STEP, situation)
    return _active(step, begun, status, situation)


def _made_at(attempt: AttemptObservation, now: datetime) -> datetime:
    """Return when an attempt was made that is seen for the first time: an orchestrator may have made it a while ago."""
    told = (attempt.pod_created if attempt.has_own_pod else None, attempt.started)
    return min((parse(time) for time in told if time is not None), default=now)


def _active(step: Step, recorded: StepStatus, status: StepStatus, situation: Situation) -> StepStatus:
    """Judge an attempt that waits or runs: whether it is to be stopped, or has waited for too long."""
    halt = situation.halt
    if halt is not None and halt.stops_running:
        return _cancelled(status, halt, situation.now) if halt.immediately else _being_stopped(status, halt)
    if recorded.reason == DEADLINE_EXCEEDED:
        return _changed(status, state="Running", reason=recorded.reason, message=recorded.message)
    deadline = running_deadline(step, status)
    if deadline is not None and situation.now >= deadline:
        message = f"It has run for longer than its timeoutSeconds ({step.timeout_seconds}) and is being stopped."
        return _changed(status, reason=DEADLINE_EXCEEDED, message=message)
    deadline = pending_deadline(step, status, situation.attempt)
    if deadline is not None and situation.now >= deadline:
        if situation.attempt is not None and situation.attempt.wants_pod and status.reason is None:
            return _changed(status, reason=POD_NOT_CREATED, message=_pod_not_created(status))
        return _pending_too_long(step, status, situation)
    if status.state == "Queued" and status.reason is None and recorded.reason is None:
        return recorded  # which Job and pod it has is recorded when it runs: a write less
    return status


def _being_stopped(status: StepStatus, halt: Halt) -> StepStatus:
    return _changed(status, reason=halt.reason, message=f"{halt.message} The step is being stopped.")


def _pending_too_long(step: Step, status: StepStatus, situation: Situation) -> StepStatus:
    what = "Its outputs could not be kept" if status.state == "Running" else "It could not start"
    waited = f"{what} within its pendingTimeoutSeconds ({step.pending_timeout_seconds})"
    message = f"{waited}: {status.message}" if status.message else f"{waited}."
    failed = _changed(status, reason=status.reason or PENDING_TIMEOUT, message=message[:1024])
    return _ended(step, failed, Fault.SURROUNDINGS, situation)


def _pod_not_created(status: StepStatus) -> str:
    return (
        f"The Job controller has not made the pod of Job {status.job_name} yet, and nothing speaks against that pod. "
        "It is waited for: see that Job's Events, and whether kube-controller-manager runs and keeps up."
    )


def _failed(step: Step, recorded: StepStatus, status: StepStatus, fault: Fault, situation: Situation) -> StepStatus:
    halt = situation.halt
    taken_away = fault in {Fault.STOPPED, Fault.DISRUPTION}
    if halt is not None and halt.stops_running and taken_away:
        return _cancelled(status, halt, situation.now)
    if taken_away and recorded.reason == DEADLINE_EXCEEDED:
        message = f"It ran for longer than its timeoutSeconds ({step.timeout_seconds}) and was stopped."
        return _ended(step, _changed(status, reason=DEADLINE_EXCEEDED, message=message), Fault.STEP, situation)
    return _ended(step, status, fault, situation)


def _ended(step: Step, status: StepStatus, fault: Fault, situation: Situation) -> StepStatus:
    """Return what follows on an attempt that did not succeed."""
    ended = _changed(status, completion_time=status.completion_time or timestamp(situation.now))
    is_last = situation.attempt is not None and situation.attempt.is_last
    if situation.halt is not None or is_last:
        return _changed(ended, state="Failed")
    return after_end(step, ended, fault, situation.now)


def _unobserved(step: Step, recorded: StepStatus, situation: Situation) -> StepStatus:
    """Judge an attempt that is recorded but not to be seen: it was not made yet, or its Job is gone."""
    if recorded.pod_name is not None or recorded.job_name is not None:
        what = f"Job {recorded.job_name}" if recorded.job_name else f"Pod {recorded.pod_name}"
        reason = JOB_DELETED if recorded.job_name else POD_DELETED
        gone = _changed(recorded, reason=reason, message=f"{what} was deleted before the step ended.")
        return _failed(step, recorded, gone, Fault.DISRUPTION, situation)
    halt, refusal = situation.halt, situation.refusal
    if halt is not None:
        return _not_started(without_latest_attempt(recorded), halt)
    if not situation.starts:
        return without_latest_attempt(recorded)
    if refusal is not None and refusal.final:
        ended = timestamp(situation.now)
        return _changed(recorded, state="Failed", reason=refusal.reason, message=refusal.message, completion_time=ended)
    told = _changed(recorded, reason=refusal.reason, message=refusal.message) if refusal is not None else recorded
    deadline = pending_deadline(step, recorded)
    if deadline is not None and situation.now >= deadline:
        return _pending_too_long(step, told, situation)
    return told


def _not_tried_again(recorded: StepStatus, situation: Situation) -> StepStatus:
    """Return the status of a step of which another attempt was awaited that will not be made."""
    if situation.halt is not None:
        return _not_started(recorded, situation.halt)
    return _changed(recorded, state="Failed", next_attempt_time=None)


def _waiting(recorded: StepStatus, situation: Situation) -> StepStatus:
    """Judge a step of which no attempt is under way."""
    if situation.halt is not None:
        return recorded if situation.may_begin else _not_started(recorded, situation.halt)
    settled = situation.settled
    if recorded.state != "Pending":
        return recorded
    if settled is not None:
        return _changed(recorded, state=settled.state, reason=settled.reason, message=settled.message)
    if situation.cached is not None:
        return _cached(recorded, situation.cached)
    return recorded


def _cached(recorded: StepStatus, record: CacheRecord) -> StepStatus:
    """Return the status of a step that is left out, with the outputs that are used in its place."""
    return StepStatus(
        name=recorded.name,
        item=recorded.item,
        state="Cached",
        reason="Cached",
        message=f"It ran as step {record.from_.step} of run {record.from_.run}.",
        cached_from=record.from_,
        artifacts=record.artifacts or None,
        results=record.results or None,
    )


def _not_started(recorded: StepStatus, halt: Halt) -> StepStatus:
    """Return the status of a step that starts no more, or not again."""
    if not halt.is_failure:
        return _changed(recorded, state="Cancelled", reason=halt.reason, message=halt.message, next_attempt_time=None)
    if recorded.attempts:
        return _changed(recorded, state="Failed", next_attempt_time=None)
    return _changed(recorded, state="Skipped", reason=halt.reason, message=halt.message)


def _cancelled(status: StepStatus, halt: Halt, now: datetime) -> StepStatus:
    ended = status.completion_time or timestamp(now)
    return _changed(status, state="Cancelled", reason=halt.reason, message=halt.message, completion_time=ended)


def _observed(begun: StepStatus, attempt: AttemptObservation) -> StepStatus:
    """Return the status with what is seen of its latest attempt."""
    state = _STATES[attempt.phase]
    started = attempt.started or begun.start_time
    if state == "Queued" and begun.state == "Running":
        if attempt.has_own_pod:
            started = None  # an orchestrator said that it runs, and its pod shows that it does not yet
        else:
            state = "Running"  # its pod is gone; that its Job has ended will be seen
    return StepStatus(
        name=begun.name,
        state=state,
        attempts=attempt.number,
        retries_used=begun.retries_used,
        disruptions=begun.disruptions,
        reason=attempt.reason,
        message=attempt.message if attempt.reason else None,
        exit_code=attempt.exit_code,
        queued_time=begun.queued_time,
        start_time=started,
        completion_time=attempt.ended,
        job_name=attempt.job_name,
        pod_name=attempt.pod_name or begun.pod_name,
        log_tail=attempt.log_tail,
        previous_attempts=begun.previous_attempts,
        artifacts=tuple(
            ArtifactStatus(name=name, uri=kept.uri, digest=kept.digest, size_bytes=kept.size_bytes)
            for name, kept in sorted(attempt.artifacts.items())
        )
        or None,
        results=tuple(ResultStatus(name=name, value=value) for name, value in sorted(attempt.results.items())) or None,
    )


def _changed(status: StepStatus, **fields: object) -> StepStatus:
    return status.model_copy(update=fields)
