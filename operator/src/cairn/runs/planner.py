"""Decide what happens next in a run. Pure: same inputs, same plan; applying a plan twice changes nothing.

The plan's steps are recorded before anything else of it is carried out, on the condition that the run has not changed. So an
attempt is made only once it is recorded that it is, and why an attempt is stopped is known after a restart too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import LONGEST_ITEM_TOLD, OrchestratorRun, StepStatus
from cairn.api.time import parse
from cairn.runs.allowance import results_allowed, size_of, within_allowance
from cairn.runs.cache_record import CacheAnswer, CacheRecord, may_be_cached
from cairn.runs.cache_status import with_cache_fields
from cairn.runs.cel import Answer, Question
from cairn.runs.gathering import gathered
from cairn.runs.instances import RunSteps, StepInstance
from cairn.runs.observation import AttemptObservation, Phase
from cairn.runs.outcome import Outcome, outcome_of
from cairn.runs.readiness import Settled, settled_without_attempt, waits_for_nothing
from cairn.runs.retry import next_attempt
from cairn.runs.scheduling import Candidates, Launch, Scheduler
from cairn.runs.states import ACTIVE
from cairn.runs.step_plan import (
    Refusal,
    Situation,
    advance,
    has_succeeded,
    is_over,
    pending_deadline,
    running_deadline,
)
from cairn.runs.stopping import STOP_REASONS, Halt, halt_of, is_suspended, run_deadline

LIVE = frozenset({Phase.WAITING, Phase.RUNNING})


@dataclass(frozen=True)
class Trouble:
    """Why an orchestrator that carries a run out itself does not tell of it."""

    reason: str
    message: str


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
    cache: Mapping[str, CacheAnswer] = field(default_factory=dict[str, CacheAnswer])
    """What the cache has of steps that it was asked for."""
    orchestrator_run: OrchestratorRun | None = None
    """The run at an orchestrator that carries it out itself."""
    is_whole: bool = False
    """Whether that has the run as a whole: nothing of it can be held back any more, and where it is to end, `finally` is, too."""
    steps_may_begin: bool = False
    """Whether it may begin with steps whatever is decided here, since it is not known yet that it ends."""
    never_begun: Settled | None = None
    """How steps end that could begin, where it has ended the run, and begins with none any more."""
    trouble: Trouble | None = None
    answers: Mapping[Question, Answer] = field(default_factory=dict[Question, Answer])
    """What expressions of `when` amount to, as far as they were evaluated."""


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
    is_ending: bool = False
    """Whether all that runs is to end, and nothing more starts."""
    look_again: datetime | None = None
    """When something is due that no event announces."""
    lookups: frozenset[str] = frozenset()
    """Steps that could start, but for that the cache is to be asked for them first: until then no other one starts either."""
    questions: frozenset[Question] = frozenset()
    """What has to be answered before some steps can start."""
    orchestrator_run: OrchestratorRun | None = None
    """The run at an orchestrator that carries it out itself."""
    unseen: frozenset[str] = frozenset()
    """Steps whose recorded attempt is given up because it is not to be seen: whether it was made has to be asked for first."""


def plan(steps: RunSteps, observed: Observed, scheduler: Scheduler | None, now: datetime, held: str = "") -> Plan:
    """Decide what to start, what to stop, and what each step's state is.

    Without a scheduler nothing starts; `held` is the sentence that says why.
    """
    counting = (within_allowance(attempt, results_allowed(steps, attempt.step)) for attempt in _that_count(observed))
    attempts = _latest(counting)
    halt = _halt(steps, observed.recorded, observed.start_time, now)
    states, undecided = _advance_all(steps, observed, attempts, halt, now, starts=_starts(steps, scheduler, halt))
    halt_now = _halt(steps, states, observed.start_time, now)
    if halt_now != halt:  # a step has failed just now, which concerns the others
        halt = halt_now
        failed = {name: state for name, state in states.items() if state.state == "Failed"}
        also_failed = replace(observed, recorded={**observed.recorded, **failed})
        states, undecided = _advance_all(
            steps, also_failed, attempts, halt, now, starts=_starts(steps, scheduler, halt)
        )
    launches: tuple[Launch, ...] = ()
    lookups: frozenset[str] = frozenset()
    whose_time_it_is = _whose_time_it_is(steps, states, halt) - undecided.keys()
    if scheduler is not None and _starts(steps, scheduler, halt) and whose_time_it_is:
        unmade = _unmade(states, attempts) - observed.refusals.keys()
        live = {attempt.workload for attempt in observed.attempts if attempt.phase in LIVE}
        candidates = Candidates(steps, whose_time_it_is, states, unmade, len(live), now)
        if scheduler.starts_beside_others or candidates.nothing_under_way:
            lookups = _lookups(candidates, observed.cache)
        launches = () if lookups else tuple(scheduler.launches(candidates))
        for launch in launches:
            name, number = launch.attempts[0]
            if name not in unmade:
                states[name] = next_attempt(states[name], number, now)
    statuses = tuple(_with_what_stays(steps, states[name], observed, attempts.get(name)) for name in steps.by_name)
    return Plan(
        launches=launches,
        steps=statuses,
        outcome=_outcome(steps.spec, statuses, halt, held, observed),
        stops=tuple(_stops(states, observed.attempts, halt)),
        is_ending=halt is not None and halt.stops_running,
        look_again=min((moment for moment in _due(steps, states, observed, halt) if moment > now), default=None),
        lookups=lookups,
        questions=frozenset(undecided.values()),
        orchestrator_run=observed.orchestrator_run,
        unseen=frozenset(_given_up_unseen(observed.recorded, states, attempts)),
    )


def _outcome(
    spec: RunSpec, statuses: Sequence[StepStatus], halt: Halt | None, held: str, observed: Observed
) -> Outcome:
    """Return how the run stands; where nothing is to be heard of it, that is told in place of how it went on.

    What an orchestrator carries out as a whole is not suspended any more.
    """
    if observed.is_whole:
        spec = spec.model_copy(update={"suspend": False})
    found, trouble = outcome_of(spec, statuses, halt, held), observed.trouble
    if trouble is None or found.finished:
        return found
    if halt is not None:
        return replace(found, message=f"{halt.message} {trouble.message}"[:4096])
    return replace(found, message=f"{trouble.reason}: {trouble.message}"[:4096])


def _starts(steps: RunSteps, scheduler: Scheduler | None, halt: Halt | None) -> bool:
    """Return whether attempts are made at all."""
    return scheduler is not None and not is_suspended(steps.spec, halt)


def _halt(steps: RunSteps, states: Mapping[str, StepStatus], start_time: str | None, now: datetime) -> Halt | None:
    """Return why none of the steps starts any more, those of `finally` aside."""
    return halt_of(steps.spec, [states[name] for name in steps.main if name in states], start_time, now)


def _whose_time_it_is(steps: RunSteps, states: Mapping[str, StepStatus], halt: Halt | None) -> frozenset[str]:
    """Return the steps of which attempts may be made: all, or `finally` once the others have ended."""
    if steps.main_has_ended(states):
        return frozenset(() if halt is not None and halt.immediately else steps.at_the_end)
    return frozenset(steps.main if halt is None else ())


def _lookups(candidates: Candidates, asked: Mapping[str, CacheAnswer]) -> frozenset[str]:
    """Return the steps that the cache is yet to be asked for: those of which a first attempt could be made."""
    return frozenset(
        name
        for name in candidates.due()
        if may_be_cached(candidates.steps.by_name[name]) and name not in asked
        if candidates.states[name].state == "Pending" and candidates.is_ready(name)
    )


def _is_asked_to_run(steps: RunSteps, name: str) -> bool:
    """Return whether the run takes over from an earlier one and begins with that step."""
    rerun_of = steps.spec.rerun_of
    return rerun_of is not None and rerun_of.from_ == steps.written(name)


def _usable(steps: RunSteps, name: str, answer: CacheAnswer | None) -> CacheRecord | None:
    """Return what can be used in place of a step; results that the status cannot hold cannot."""
    record = answer.record if answer is not None else None
    if record is None or _is_asked_to_run(steps, name):
        return None
    if size_of({item.name: item.value for item in record.results}) > results_allowed(steps, name):
        return None
    return record


def _with_what_stays(
    steps: RunSteps, status: StepStatus, observed: Observed, attempt: AttemptObservation | None
) -> StepStatus:
    """Return the status with what is known of the step itself, whatever becomes of its attempts."""
    step = steps.by_name[status.name]
    if isinstance(step, StepInstance) and status.item is None:
        status = status.model_copy(update={"item": step.item[:LONGEST_ITEM_TOLD]})
    if not may_be_cached(step):
        return status
    return with_cache_fields(step, status, observed.recorded.get(status.name), observed.cache.get(status.name), attempt)


def _unmade(states: Mapping[str, StepStatus], attempts: Mapping[str, AttemptObservation]) -> frozenset[str]:
    """Return the steps of which an attempt is recorded that is not there; earlier ones may still be seen."""
    return frozenset(
        name
        for name, state in states.items()
        if state.state == "Queued" and (name not in attempts or attempts[name].number < state.attempts)
    )


def _given_up_unseen(
    recorded: Mapping[str, StepStatus], states: Mapping[str, StepStatus], attempts: Mapping[str, AttemptObservation]
) -> Iterator[str]:
    """Yield the steps that do not go on with an attempt of which nothing has been seen yet."""
    for name in _unmade(recorded, attempts):
        before, now = recorded[name], states.get(name)
        never_seen = before.job_name is None and before.pod_name is None
        if never_seen and now is not None and (now.state not in ACTIVE or now.attempts != before.attempts):
            yield name


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
    steps: RunSteps,
    observed: Observed,
    attempts: Mapping[str, AttemptObservation],
    halt: Halt | None,
    now: datetime,
    *,
    starts: bool,
) -> tuple[dict[str, StepStatus], Mapping[str, Question]]:
    """Return the state of every step, and of those that are undecided what has to be answered."""
    states: dict[str, StepStatus] = {}
    undecided: dict[str, Question] = {}
    main_has_ended = False
    for name in steps.order:
        if name in steps.instances:
            states[name] = gathered(steps, name, states)
            continue
        recorded = observed.recorded.get(name) or StepStatus(name=name, state="Pending")
        own_halt = halt
        if steps.is_finally(name):
            main_has_ended = main_has_ended or steps.main_has_ended(states)
            ends_all = observed.is_whole or (halt is not None and halt.immediately)
            own_halt = halt if ends_all else None
            if own_halt is None and not main_has_ended:
                states[name] = recorded
                continue
        may_settle = recorded.state == "Pending" and own_halt is None and name not in attempts
        settled = settled_without_attempt(steps, name, states, observed.answers) if may_settle else None
        if (
            observed.never_begun is not None
            and may_settle
            and settled is None
            and waits_for_nothing(steps, name, states)
        ):
            settled = observed.never_begun
        if isinstance(settled, Question):
            undecided[name] = settled
        situation = Situation(
            now=now,
            halt=own_halt,
            starts=starts,
            attempt=attempts.get(name),
            refusal=observed.refusals.get(name),
            may_begin=observed.steps_may_begin and not (own_halt is not None and own_halt.immediately),
            settled=settled if isinstance(settled, Settled) else None,
            cached=_usable(steps, name, observed.cache.get(name)) if starts else None,
        )
        states[name] = advance(steps.by_name[name], recorded, situation)
    return states, undecided


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
    steps: RunSteps,
    states: Mapping[str, StepStatus],
    observed: Observed,
    halt: Halt | None,
) -> Iterator[datetime]:
    """Yield when something is due, or was."""
    for attempt in observed.attempts:
        if attempt.awaited_until is not None and attempt.phase in LIVE:
            yield attempt.awaited_until
    spec = steps.spec
    deadline = run_deadline(spec, observed.start_time)
    if halt is None and deadline is not None and not steps.main_has_ended(states):
        yield deadline
    attempts = {(attempt.step, attempt.number): attempt for attempt in observed.attempts}
    for name, step in steps.by_name.items():
        state = states[name]
        if state.state in ACTIVE and state.reason not in STOP_REASONS:
            attempt = attempts.get((name, state.attempts))
            yield from filter(None, (pending_deadline(step, state, attempt), running_deadline(step, state)))
        if state.state == "Retrying" and state.next_attempt_time and not is_suspended(spec, halt):
            yield parse(state.next_attempt_time)
