"""Which steps start together, and in which Jobs: the one thing in which the orchestrators differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import ClassVar, Protocol

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.time import parse
from cairn.runs.cache_record import may_be_cached
from cairn.runs.gathering import state_of
from cairn.runs.graph import results_of, results_used_by
from cairn.runs.instances import RunSteps
from cairn.runs.states import ACTIVE, lets_pass

MOST_STEPS_OF_A_POD = 50
"""More would be a pod larger than what the API server keeps."""


@dataclass(frozen=True)
class Launch:
    """A Job, or a pod without one, to create: steps to run one after another in one pod, and which attempt of each it is."""

    attempts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Candidates:
    """The steps of a run, as far as it matters to what starts."""

    steps: RunSteps
    whose_time_it_is: frozenset[str]
    """Steps of which attempts may be made, as soon as what they need lets them."""
    states: Mapping[str, StepStatus]
    unmade: frozenset[str]
    """Steps of which an attempt is recorded, but its Job was not made yet."""
    live_workloads: int
    """How many Jobs and pods without one there are that have not ended."""
    now: datetime

    def due(self) -> Iterator[str]:
        """Yield the steps of which another attempt is due, as soon as what they need lets them; each after those."""
        for name in self.steps.order:
            if name in self.whose_time_it_is and self._is_due(name):
                yield name

    def decided_upon(self) -> Iterator[str]:
        """Yield the steps of which an attempt is recorded that is to be made."""
        yield from (name for name in self.steps.order if name in self.unmade)

    def number(self, name: str) -> int:
        """Return the number of the attempt to make."""
        attempts = self.states[name].attempts
        return attempts if name in self.unmade else attempts + 1

    @property
    def active(self) -> int:
        """How many steps have an attempt under way."""
        return sum(state.state in ACTIVE for state in self.states.values())

    @property
    def nothing_under_way(self) -> bool:
        """Whether no Job or pod is there that has not ended, nor was one there as far as is recorded."""
        return not self.live_workloads and self.active <= len(self.unmade)

    @cached_property
    def letting_pass(self) -> frozenset[str]:
        """The steps that let those start that only come after them."""
        return frozenset(
            name for name in self.steps.graph.steps if lets_pass(state_of(self.steps, name, self.states), used=False)
        )

    def is_ready(self, name: str, besides: Iterable[str] = ()) -> bool:
        """Return whether all lets a step start that it needs, `besides` being about to succeed."""
        waited_for = self.steps.needs(name).difference(self.letting_pass, besides)
        return not waited_for

    def _is_due(self, name: str) -> bool:
        if self.steps.by_name[name].for_each is not None:
            return False  # its items are not known yet
        state = self.states[name]
        if state.state == "Retrying":
            return state.next_attempt_time is None or parse(state.next_attempt_time) <= self.now
        return state.state == "Pending"


class Scheduler(Protocol):
    """Decides what starts, given each step's state."""

    starts_beside_others: ClassVar[bool]
    """Whether a step may start while others are under way; where not, it may be in their pod before its turn has come."""

    def launches(self, candidates: Candidates) -> Sequence[Launch]:
        """Return the Jobs to create now."""
        ...


@dataclass(frozen=True)
class OneJobPerStep:
    """The orchestrator `kubernetes`: each step on its own as soon as what it needs has succeeded."""

    max_parallel_steps: int
    starts_beside_others: ClassVar[bool] = True

    def launches(self, candidates: Candidates) -> Sequence[Launch]:
        """Return a Job for each ready step, as far as the limits allow."""
        limit = min(self.max_parallel_steps, candidates.steps.spec.max_parallel_steps or self.max_parallel_steps)
        ready = (name for name in candidates.due() if candidates.is_ready(name))
        chosen = islice(ready, max(0, limit - candidates.active))
        return [Launch(((name, candidates.number(name)),)) for name in (*candidates.decided_upon(), *chosen)]


@dataclass(frozen=True)
class OnePodForAll:
    """The orchestrator `local`: as many steps as can share a pod, one after another; the next pod when that one has ended."""

    starts_beside_others: ClassVar[bool] = False
    pod_settings: Mapping[str, JsonObject]
    """What of each step's template, as it is written, concerns its whole pod: steps share one only where this is the same."""

    def launches(self, candidates: Candidates) -> Sequence[Launch]:
        """Return one Job, or none while one is under way."""
        if not candidates.nothing_under_way:
            return []
        sequence = tuple(islice(self._sequence(candidates), MOST_STEPS_OF_A_POD))
        return [Launch(tuple((name, candidates.number(name)) for name in sequence))] if sequence else []

    def _sequence(self, candidates: Candidates) -> Iterator[str]:
        """Yield the steps of the next pod; what was decided upon before comes first, since the Job has its name."""
        chosen = list(islice(candidates.decided_upon(), 1))
        yield from chosen
        for name in candidates.due():
            if name in chosen or not candidates.is_ready(name, besides=chosen):
                continue
            alike = not chosen or self._settings(candidates, name) == self._settings(candidates, chosen[0])
            if alike and candidates.letting_pass.issuperset(self._known_to_succeed(candidates.steps, name)):
                chosen.append(name)
                yield name

    def _settings(self, candidates: Candidates, name: str) -> JsonObject:
        return self.pod_settings[candidates.steps.written(name)]

    @staticmethod
    def _known_to_succeed(steps: RunSteps, name: str) -> frozenset[str]:
        """Return the steps that must have succeeded before this one's pod is made.

        Those whose results it uses; those that have results at all, since only the operator sees whether they are valid; and
        all that it needs where `when` is yet to be evaluated, or the cache to be asked.
        """
        step = steps.by_name[name]
        if step.when is not None or may_be_cached(step):
            return steps.needs(name)
        with_results = {other for other in steps.needs(name) if results_of(steps.graph.steps[other])}
        return results_used_by(step) | with_results
