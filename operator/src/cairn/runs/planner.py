"""Decide what happens next in a run. Pure: same inputs, same plan; applying a plan twice changes nothing.

Order of a step's life: Pending, then Queued and Running while an attempt of it exists, then Succeeded or Failed; or Skipped,
when a step that it needs did not succeed. What the status records as ended never changes again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cairn.api.conditions import ConditionStatus
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import ArtifactStatus, ResultStatus, StepStatus
from cairn.api.step import Step
from cairn.runs.graph import dependencies_of, topological_order
from cairn.runs.observation import AttemptObservation, Phase
from cairn.runs.scheduling import Launch, Scheduler

ENDED = frozenset({"Succeeded", "Failed", "Skipped"})
PENDING = "Pending"
"""Reason of a run of which nothing runs, for want of something that a step waits for."""
ACTIVE = frozenset({"Queued", "Running"})


@dataclass(frozen=True)
class Refusal:
    """Why an attempt could not be created: the API server's answer."""

    reason: str
    message: str
    final: bool = False
    """Whether another try can only end alike."""


@dataclass(frozen=True)
class Observed:
    """What is known of a run besides its spec."""

    recorded: Mapping[str, StepStatus]
    """Each step as the status has it."""
    attempts: Mapping[str, AttemptObservation]
    """The latest attempt of each step, as its Job and pod show it."""
    jobs: frozenset[str] = frozenset()
    """The names of all Jobs of the run that are there."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])
    """Steps whose attempt could not be created just now."""


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


@dataclass(frozen=True)
class Plan:
    """What to start, and the state of every step."""

    launches: tuple[Launch, ...]
    steps: tuple[StepStatus, ...]
    outcome: Outcome


def plan(spec: PipelineRunSpec, observed: Observed, scheduler: Scheduler | None, held: str = "") -> Plan:
    """Decide what to start and what each step's state is.

    Without a scheduler nothing starts; `held` is the sentence that says why.
    """
    by_name = {step.name: step for step in spec.steps}
    states: dict[str, StepStatus] = {}
    for name in topological_order(spec.steps):
        states[name] = _advance(by_name[name], observed, states)
    steps = tuple(states[step.name] for step in spec.steps)
    outcome = _outcome(spec, steps, held)
    launches: Sequence[Launch] = ()
    if scheduler is not None and not outcome.finished and not spec.suspend:
        launches = scheduler.launches(spec, states)
    return Plan(tuple(launches), steps, outcome)


def _advance(step: Step, observed: Observed, states: Mapping[str, StepStatus]) -> StepStatus:
    recorded = observed.recorded.get(step.name) or StepStatus(name=step.name, state="Pending")
    if recorded.state in ENDED:
        return recorded
    attempt = observed.attempts.get(step.name)
    if attempt is not None:
        return _observed(step, attempt)
    if recorded.job_name is not None and recorded.job_name not in observed.jobs:
        return _changed(
            recorded,
            state="Failed",
            reason="JobDeleted",
            message=f"Job {recorded.job_name} was deleted before the step ended.",
        )
    if recorded.state == "Running":
        return _changed(
            recorded,
            state="Failed",
            reason="PodDeleted",
            message=f"The pod of Job {recorded.job_name} was deleted before the step ended.",
        )
    blocking = [
        name for name in sorted(dependencies_of(step)) if name in states and states[name].state in {"Failed", "Skipped"}
    ]
    pending = StepStatus(name=step.name, state="Pending")
    if blocking:
        state = states[blocking[0]].state.lower()
        return _changed(
            pending,
            state="Skipped",
            reason="DependencyFailed",
            message=f"Step {blocking[0]}, which it needs, {_was(state)}.",
        )
    refusal = observed.refusals.get(step.name)
    if refusal is None:
        return pending
    return _changed(
        pending, state="Failed" if refusal.final else "Pending", reason=refusal.reason, message=refusal.message
    )


def _was(state: str) -> str:
    return "was skipped" if state == "skipped" else state


def _observed(step: Step, attempt: AttemptObservation) -> StepStatus:
    states = {
        Phase.WAITING: "Queued",
        Phase.RUNNING: "Running",
        Phase.SUCCEEDED: "Succeeded",
        Phase.FAILED: "Failed",
    }
    return StepStatus.model_validate(
        {
            "name": step.name,
            "state": states[attempt.phase],
            "attempts": attempt.number,
            "reason": attempt.reason,
            "message": attempt.message[:1024] if attempt.message else None,
            "exit_code": attempt.exit_code,
            "start_time": attempt.started,
            "completion_time": attempt.ended,
            "job_name": attempt.job_name,
            "pod_name": attempt.pod_name,
            "log_tail": attempt.log_tail,
            "artifacts": [
                ArtifactStatus(
                    name=name,
                    uri=kept.uri,
                    digest=kept.digest,
                    size_bytes=kept.size_bytes,
                )
                for name, kept in sorted(attempt.artifacts.items())
            ]
            or None,
            "results": [ResultStatus(name=name, value=value) for name, value in sorted(attempt.results.items())]
            or None,
        }
    )


def _outcome(spec: PipelineRunSpec, steps: Sequence[StepStatus], held: str) -> Outcome:
    failed = [step for step in steps if step.state == "Failed"]
    active = [step for step in steps if step.state in ACTIVE]
    if all(step.state in ENDED for step in steps):
        if not failed:
            return Outcome(
                "True", "Completed", "The step succeeded." if len(steps) == 1 else f"All {len(steps)} steps succeeded."
            )
        first = failed[0]
        others = f" {_others(len(failed) - 1)} failed too." if len(failed) > 1 else ""
        return Outcome(
            "False", "StepFailed", f"Step {first.name} failed: {first.reason}: {first.message}{others}"[:4096]
        )
    if spec.suspend and not active:
        return Outcome("Unknown", "Suspended", "The run is suspended; set spec.suspend to false to go on.")
    if held and not active:
        return Outcome("Unknown", "StackNotReady", held[:4096])
    if failed:
        return Outcome(
            "Unknown",
            "Running",
            f"Step {failed[0].name} failed: {failed[0].reason}; independent steps go on.",
        )
    troubled = next((step for step in steps if step.state in {"Queued", "Pending"} and step.reason), None)
    if troubled is not None:
        reason = "Running" if any(step.state == "Running" for step in active) else PENDING
        return Outcome("Unknown", reason, f"Step {troubled.name} waits: {troubled.reason}: {troubled.message}"[:4096])
    return Outcome("Unknown", "Running", _progress(active))


def _others(count: int) -> str:
    return "1 other step" if count == 1 else f"{count} other steps"


def _progress(active: Sequence[StepStatus]) -> str:
    names = ", ".join(step.name for step in active[:5])
    more = f" and {len(active) - 5} more" if len(active) > 5 else ""
    return f"Steps under way: {names}{more}." if active else "The next steps are about to start."


def _changed(status: StepStatus, **fields: object) -> StepStatus:
    return status.model_copy(update=fields)
