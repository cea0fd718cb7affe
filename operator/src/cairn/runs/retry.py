"""Whether another attempt of a step is made, and when. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from cairn.api.pipelinerun_status import AttemptStatus, StepStatus
from cairn.api.step import Retry, Step
from cairn.api.time import RESOLUTION, timestamp
from cairn.runs.observation import Fault

ATTEMPT_MESSAGE_LENGTH = 256
WITHOUT_RETRY = Retry()


def after_end(step: Step, ended: StepStatus, fault: Fault, now: datetime) -> StepStatus:
    """Return the status of a step whose latest attempt did not succeed: Retrying, or Failed for good.

    A disruption is not charged to `retry.limit`, since it is not the step's fault; it has a limit of its own. Nor is it the
    step's fault when it was stopped with a pod that it shares, for the sake of another one.
    """
    policy = step.retry or WITHOUT_RETRY
    if fault in {Fault.DISRUPTION, Fault.STOPPED}:
        count = ended.disruptions
        again, counted = count < policy.disruption_limit, {"disruptions": count + 1}
    else:
        count = ended.retries_used
        tried = fault is not Fault.SURROUNDINGS or policy.on == "Always"
        again, counted = tried and count < policy.limit, {"retries_used": count + 1}
    if not again:
        return ended.model_copy(update={"state": "Failed"})
    backoff = backoff_seconds(policy, ended.retries_used + ended.disruptions)
    due = now + timedelta(seconds=backoff) + RESOLUTION if backoff else now
    return ended.model_copy(update={"state": "Retrying", "next_attempt_time": timestamp(due), **counted})


def backoff_seconds(policy: Retry, earlier: int) -> int:
    """Return how long to wait for the next attempt, when that many waits have been before."""
    longest = policy.max_backoff_seconds
    if policy.backoff_factor == 1 or policy.backoff_seconds == 0:
        return min(longest, policy.backoff_seconds)
    return min(longest, policy.backoff_seconds * policy.backoff_factor ** min(earlier, longest.bit_length()))


def next_attempt(recorded: StepStatus, number: int, now: datetime) -> StepStatus:
    """Return the status of a step whose next attempt is about to be made; what became of the last one is kept."""
    previous = recorded.previous_attempts or ()
    if recorded.state == "Retrying":
        previous = (*previous, _attempt_status(recorded))
    return StepStatus(
        name=recorded.name,
        state="Queued",
        attempts=number,
        retries_used=recorded.retries_used,
        disruptions=recorded.disruptions,
        queued_time=timestamp(now),
        previous_attempts=previous or None,
    )


def without_latest_attempt(recorded: StepStatus) -> StepStatus:
    """Return the status as it was before an attempt was decided upon that is not made after all."""
    if not recorded.previous_attempts:
        return StepStatus(name=recorded.name, state="Pending")
    *earlier, last = recorded.previous_attempts
    return StepStatus(
        state="Retrying",
        name=recorded.name,
        attempts=last.number,
        retries_used=recorded.retries_used,
        disruptions=recorded.disruptions,
        previous_attempts=tuple(earlier) or None,
        **last.model_dump(exclude={"number", "charged"}),
    )


def is_charged(retrying: StepStatus) -> bool:
    """Return whether the latest attempt of a step that is tried again counts against `retry.limit`."""
    return sum(attempt.charged for attempt in retrying.previous_attempts or ()) < retrying.retries_used


def _attempt_status(step: StepStatus) -> AttemptStatus:
    return AttemptStatus(
        number=step.attempts,
        reason=step.reason or "Unknown",
        message=step.message[:ATTEMPT_MESSAGE_LENGTH] if step.message else None,
        exit_code=step.exit_code,
        charged=is_charged(step),
        start_time=step.start_time,
        completion_time=step.completion_time,
        job_name=step.job_name,
        pod_name=step.pod_name,
        log_uri=step.log_uri,
    )
