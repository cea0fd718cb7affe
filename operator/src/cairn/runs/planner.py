"""Decide what happens next in a run. Pure: same inputs, same plan; applying a plan twice changes nothing.

The plan's steps are recorded before anything else of it is carried out, on the condition that the run has not changed. So an
attempt is made only once it is recorded that it is, and why an attempt is stopped is known after a restart too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.api.time import parse
from cairn.runs.graph import dependencies_of, topological_order
from cairn.runs.observation import AttemptObservation, Phase
from cairn.runs.outcome import Outcome, outcome_of
from cairn.runs.retry import next_attempt
from cairn.runs.scheduling import Candidates, Launch, Scheduler
from cairn.runs.step_plan import (
    ACTIVE,
    NOT_SUCCEEDED,
    Refusal,
    Situation,
    advance,
    has_succeeded,
    is_over,
    pending_deadline,
    running_deadline,
)
from cairn.runs.stopping import STOP_REASONS, Halt, halt_of, run_deadline

LIVE = frozenset({Phase.WAITING, Phase.RUNNING})


@dataclass(frozen=True)
class Observed:
    """What is known of a run besides its spec."""

    recorded: Mapping[str, StepStatus]
    """Each step as the status has it."""
    attempts: Sequence[AttemptObservation] = ()
    """The attempts that are there, as their Jobs and pods show them."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])
    """Steps whose attempt could not be created just now."""
    start_time: str | None = None
    """When the run started."""


class StopMode(Enum):
    """How an attempt is ended."""

    GRACEFUL = "Graceful"
    """The kubelet stops its pod, which stays, so that its end and its logs can be read."""
    DELETE = "Delete"
    """Its Job, or its pod, is deleted: nothing of it has started, or its end does not matter any more."""
    IMMEDIATE = "Immediate"
    """The same, and its pod's grace period is cut short."""


@dataclass(frozen=True)
class Stop:
    """An attempt that is to end before it ends by itself."""

    attempt: AttemptObservation
    mode: StopMode


@dataclass(frozen=True)
class Plan:
    """The state of every step, and what to do once that is recorded."""

    launches: tuple[Launch, ...]
    steps: tuple[StepStatus, ...]
    outcome: Outcome
    stops: tuple[Stop, ...] = ()
    look_again: datetime | None = None
    """When something is due that no event announces."""


def plan(spec: PipelineRunSpec, observed: Observed, scheduler: Scheduler | None, now: datetime, held: str = "") -> Plan:
    """Decide what to start, what to stop, and what each step's state is.

    Without a scheduler nothing starts; `held` is the sentence that says why.
    """
    attempts = _latest(_that_count(observed))
    recorded = [observed.recorded[step.name] for step in spec.steps if step.name in observed.recorded]
    halt = halt_of(spec, recorded, observed.start_time, now)
    starts = scheduler is not None and not spec.suspend
    states = _advance_all(spec, observed, attempts, halt, now, starts=starts)
    halt_now = halt_of(spec, [states[step.name] for step in spec.steps], observed.start_time, now)
    if halt_now != halt:  # a step has failed just now, which concerns the others
        halt = halt_now
        failed = {name: state for name, state in states.items() if state.state == "Failed"}
        observed = replace(observed, recorded={**observed.recorded, **failed})
        states = _advance_all(spec, observed, attempts, halt, now, starts=starts)
    launches: tuple[Launch, ...] = ()
    if scheduler is not None and starts and halt is None:
        unmade = _unmade(states, attempts) - observed.refusals.keys()
        live = {attempt.workload for attempt in observed.attempts if attempt.phase in LIVE}
        launches = tuple(scheduler.launches(spec, Candidates(states, unmade, len(live), now)))
        for launch in launches:
            name, number = launch.attempts[0]
            if name not in unmade:
                states[name] = next_attempt(states[name], number, now)
    steps = tuple(states[step.name] for step in spec.steps)
    return Plan(
        launches=launches,
        steps=steps,
        outcome=outcome_of(spec, steps, halt, held),
        stops=tuple(_stops(states, observed.attempts, halt)),
        look_again=min((moment for moment in _due(spec, states, observed, halt) if moment > now), default=None),
    )


def _unmade(states: Mapping[str, StepStatus], attempts: Mapping[str, AttemptObservation]) -> frozenset[str]:
    """Return the steps of which an attempt is recorded that is not there; earlier ones may still be seen."""
    return frozenset(
        name
        for name, state in states.items()
        if state.state == "Queued" and (name not in attempts or attempts[name].number < state.attempts)
    )


def _that_count(observed: Observed) -> Iterator[AttemptObservation]:
    """Yield the attempts but those whose turn came in a pod in which an earlier step's attempt had been given up."""
    given_up = _given_up(observed.recorded, observed.attempts)
    for attempt in observed.attempts:
        if attempt.workload not in given_up or attempt.number <= _attempts_of(observed.recorded, attempt.step):
            yield attempt


def _given_up(recorded: Mapping[str, StepStatus], attempts: Iterable[AttemptObservation]) -> frozenset[str | None]:
    """Return the Jobs and pods in which a step did not succeed, whatever their containers go on to do."""
    return frozenset(
        attempt.workload
        for attempt in attempts
        if attempt.step in recorded
        and is_over(recorded[attempt.step], attempt.number)
        and not has_succeeded(recorded[attempt.step], attempt.number)
    )


def _attempts_of(recorded: Mapping[str, StepStatus], step: str) -> int:
    return recorded[step].attempts if step in recorded else 0


def _latest(attempts: Iterable[AttemptObservation]) -> Mapping[str, AttemptObservation]:
    latest: dict[str, AttemptObservation] = {}
    for attempt in attempts:
        if attempt.step not in latest or latest[attempt.step].number <= attempt.number:
            latest[attempt.step] = attempt
    return latest


def _advance_all(
    spec: PipelineRunSpec,
    observed: Observed,
    attempts: Mapping[str, AttemptObservation],
    halt: Halt | None,
    now: datetime,
    *,
    starts: bool,
) -> dict[str, StepStatus]:
    by_name = {step.name: step for step in spec.steps}
    states: dict[str, StepStatus] = {}
    for name in topological_order(spec.steps):
        situation = Situation(
            now=now,
            halt=halt,
            starts=starts,
            attempt=attempts.get(name),
            refusal=observed.refusals.get(name),
            blocking=_blocking(by_name[name], states),
        )
        recorded = observed.recorded.get(name) or StepStatus(name=name, state="Pending")
        states[name] = advance(by_name[name], recorded, situation)
    return states


def _blocking(step: Step, states: Mapping[str, StepStatus]) -> StepStatus | None:
    """Return the first step that this one needs and that will not succeed any more, or None."""
    needed = (states[name] for name in sorted(dependencies_of(step)) if name in states)
    return next((state for state in needed if state.state in NOT_SUCCEEDED), None)


def _stops(
    states: Mapping[str, StepStatus], attempts: Iterable[AttemptObservation], halt: Halt | None
) -> Iterator[Stop]:
    """Yield the attempts that are there but are over, or to be stopped, and do not know it yet."""
    attempts = tuple(attempts)
    over = StopMode.IMMEDIATE if halt is not None and halt.immediately else StopMode.DELETE
    given_up = _given_up(states, attempts)
    for attempt in attempts:
        if attempt.phase not in LIVE:
            continue
        state = states.get(attempt.step)
        began_in_vain = attempt.workload in given_up and attempt.phase is Phase.RUNNING
        if state is None or is_over(state, attempt.number) or (began_in_vain and attempt.number > state.attempts):
            yield Stop(attempt, over)
        elif state.reason in STOP_REASONS and not attempt.being_stopped:
            yield Stop(attempt, StopMode.GRACEFUL if attempt.on_node else StopMode.DELETE)


def _due(
    spec: PipelineRunSpec,
    states: Mapping[str, StepStatus],
    observed: Observed,
    halt: Halt | None,
) -> Iterator[datetime]:
    """Yield when something is due, or was."""
    for attempt in observed.attempts:
        if attempt.gone_at is not None and attempt.phase in LIVE:
            yield attempt.gone_at
    deadline = run_deadline(spec, observed.start_time)
    if halt is None and deadline is not None:
        yield deadline
    for step in spec.steps:
        state = states[step.name]
        if state.state in ACTIVE and state.reason not in STOP_REASONS:
            yield from filter(None, (pending_deadline(step, state), running_deadline(step, state)))
        if state.state == "Retrying" and state.next_attempt_time and not spec.suspend:
            yield parse(state.next_attempt_time)
