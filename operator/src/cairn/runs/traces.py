"""A trace of each run that has ended: the run, and in it each attempt of its steps.

The ids follow from the run's UID, so that a run that is told of twice is one trace. Attributes are named as in
https://opentelemetry.io/docs/specs/semconv/cicd/cicd-spans/ and https://opentelemetry.io/docs/specs/semconv/resource/k8s/.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cairn.api.base import JsonObject
from cairn.api.conditions import find_condition
from cairn.api.pipelinerun import pipeline_of
from cairn.api.pipelinerun_status import AttemptStatus, PipelineRunStatus, StepStatus
from cairn.api.time import parse
from cairn.clients.clock import Clock
from cairn.clients.store import Key, key_of
from cairn.clients.tracing import SendTrace, Span, Trace
from cairn.runs.states import TAKEN_OVER
from cairn.runs.status import SUCCEEDED_CONDITION

logger = logging.getLogger(__name__)

LOOK_BACK = timedelta(minutes=10)
"""An operator that begins to work traces the runs that ended so shortly before: the one before it may not have come to that."""
LONGEST_ERROR = 256
"""What a status keeps of an earlier attempt's message, too."""
RESULTS = {
    "Completed": "success",
    "StepFailed": "failure",
    "TimedOut": "timeout",
    "Cancelled": "cancellation",
    "Succeeded": "success",
    "Failed": "failure",
}
"""By the reason of a run, or the state of a step; anything else is an error."""


class RunTraces:
    """Has each run traced once that ends while this operator works."""

    def __init__(self, send: SendTrace | None, clock: Clock) -> None:
        """Trace runs by `send`; without it there are no traces."""
        self._send = send
        self._clock = clock
        self._since: datetime | None = None
        self._sent: dict[Key, str] = {}
        """UID of each run that is there and was traced."""

    def ended(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Trace a run that has ended, unless that was done; what goes wrong with that concerns nothing else."""
        key, uid = key_of(body), body["metadata"].get("uid", "")
        if self._send is None or self._sent.get(key) == uid or status.completion_time is None:
            return
        if self._since is None:
            self._since = self._clock.now() - LOOK_BACK
        self._sent[key] = uid
        if parse(status.completion_time) < self._since:
            return
        try:
            self._send(trace_of(body, status))
        except Exception:
            logger.exception("The run cannot be traced")

    def forget(self, key: Key) -> None:
        """Forget a run that is gone."""
        self._sent.pop(key, None)


@dataclass(frozen=True)
class _Run:
    """What the spans of attempts have of their run."""

    uid: str
    end: datetime
    namespace_of_pods: str | None
    """None where that is not known: Kubeflow Pipelines may have them in another."""


def trace_of(body: JsonObject, status: PipelineRunStatus) -> Trace:
    """Return the trace of a run that has ended."""
    metadata = body["metadata"]
    uid, end = str(metadata["uid"]), parse(str(status.completion_time))
    condition = find_condition(status.conditions, SUCCEEDED_CONDITION)
    reason, message = (condition.reason, condition.message) if condition is not None else ("Unknown", "")
    result = RESULTS.get(reason, "error")
    attributes = {
        "cicd.pipeline.name": pipeline_of(body),
        "cicd.pipeline.action.name": "RUN",
        "cicd.pipeline.run.id": uid,
        "cicd.pipeline.run.url.full": status.tracking.url if status.tracking is not None else None,
        "cicd.pipeline.result": result,
        "error.type": None if result == "success" else reason,
        "k8s.namespace.name": metadata["namespace"],
        "cairn.run": metadata["name"],
        "cairn.reason": reason,
        "cairn.stack": status.stack.name if status.stack is not None else None,
        "cairn.steps": status.steps_summary,
    }
    root = Span(
        span_id=_span_id(uid),
        name=f"RUN {pipeline_of(body)}",
        start=min(end, parse(status.start_time)) if status.start_time else end,
        end=end,
        attributes=_given(attributes),
        error=None if result == "success" else message[:LONGEST_ERROR],
    )
    run = _Run(uid, end, metadata["namespace"] if status.orchestrator_run is None else None)
    parts = [span for step in status.steps for span in _attempts(run, step)]
    return Trace(UUID(uid).int, root, parts)


def _attempts(run: _Run, step: StepStatus) -> Iterator[Span]:
    """Yield a span for each attempt of a step, the latest last; none of what another run has done."""
    if not step.attempts or step.reason == TAKEN_OVER:
        return
    for attempt in step.previous_attempts or ():
        yield _span(run, step, attempt, "Failed")
    last = AttemptStatus(
        number=step.attempts,
        reason=step.reason or step.state,
        message=(step.message or "")[:LONGEST_ERROR] or None,
        exit_code=step.exit_code,
        charged=False,
        start_time=step.start_time or step.queued_time,
        completion_time=step.completion_time,
        job_name=step.job_name,
        pod_name=step.pod_name,
        log_uri=step.log_uri,
    )
    yield _span(run, step, last, step.state)


def _span(run: _Run, step: StepStatus, attempt: AttemptStatus, state: str) -> Span:
    result = RESULTS.get(state, "error")
    run_id = f"{run.uid}/{step.name}/{attempt.number}"
    attributes = {
        "cicd.pipeline.task.name": step.name,
        "cicd.pipeline.task.run.id": run_id,
        "cicd.pipeline.task.run.result": result,
        "error.type": None if result == "success" else attempt.reason,
        "k8s.namespace.name": run.namespace_of_pods,
        "k8s.job.name": attempt.job_name,
        "k8s.pod.name": attempt.pod_name,
        "process.exit.code": attempt.exit_code,
        "cairn.attempt": attempt.number,
        "cairn.state": state,
        "cairn.reason": attempt.reason,
        "cairn.item": step.item,
        "cairn.log": attempt.log_uri,
    }
    end = parse(attempt.completion_time) if attempt.completion_time else run.end
    return Span(
        span_id=_span_id(run_id),
        name=step.name,
        start=min(end, parse(attempt.start_time)) if attempt.start_time else end,
        end=end,
        attributes=_given(attributes),
        error=None if result == "success" else (attempt.message or attempt.reason)[:LONGEST_ERROR],
    )


def _given(attributes: Mapping[str, str | int | None]) -> Mapping[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}


def _span_id(of: str) -> int:
    return int.from_bytes(hashlib.sha256(of.encode()).digest()[:8], "big")
