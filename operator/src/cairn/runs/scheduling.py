"""Which steps start together, and in which Jobs: the one thing in which the orchestrators differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.api.time import parse
from cairn.runs.graph import dependencies_of, references_of, results_of, topological_order


@dataclass(frozen=True)
class Launch:
    """A Job, or a pod without one, to create: steps to run one after another in one pod, and which attempt of each it is."""

    attempts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Candidates:
    """The steps of a run, as far as it matters to what starts."""

    states: Mapping[str, StepStatus]
    unmade: frozenset[str]
    """Steps of which an attempt is recorded, but its Job was not made yet."""
    live_workloads: int
    """How many Jobs and pods without one there are that have not ended."""
    now: datetime

    def may_start(self, name: str) -> bool:
        """Return whether another attempt of a step is due, as soon as what it needs has succeeded."""
        state = self.states[name]
        if state.state == "Retrying":
            return state.next_attempt_time is None or parse(state.next_attempt_time) <= self.now
        return state.state == "Pending"

    def number(self, name: str) -> int:
        """Return the number of the attempt to make."""
        attempts = self.states[name].attempts
        return attempts if name in self.unmade else attempts + 1

    @property
    def active(self) -> int:
        """How many steps have an attempt under way."""
        return sum(state.state in {"Queued", "Running"} for state in self.states.values())

    @property
    def succeeded(self) -> frozenset[str]:
        """The steps that have succeeded."""
        return frozenset(name for name, state in self.states.items() if state.state == "Succeeded")


class Scheduler(Protocol):
    """Decides what starts, given each step's state."""

    def launches(self, spec: PipelineRunSpec, candidates: Candidates) -> Sequence[Launch]:
        """Return the Jobs to create now."""
        ...


@dataclass(frozen=True)
class OneJobPerStep:
    """The orchestrator `kubernetes`: each step on its own as soon as what it needs has succeeded."""

    max_parallel_steps: int

    def launches(self, spec: PipelineRunSpec, candidates: Candidates) -> Sequence[Launch]:
        """Return a Job for each ready step, as far as the limits allow."""
        limit = min(self.max_parallel_steps, spec.max_parallel_steps or self.max_parallel_steps)
        succeeded = candidates.succeeded
        ready = [
            step.name for step in spec.steps if candidates.may_start(step.name) and dependencies_of(step) <= succeeded
        ]
        chosen = ready[: max(0, limit - candidates.active)]
        return [Launch(((name, candidates.number(name)),)) for name in (*sorted(candidates.unmade), *chosen)]


@dataclass(frozen=True)
class OnePodForAll:
    """The orchestrator `local`: as many steps as can share a pod, one after another; the next pod when that one has ended."""

    pod_settings: Mapping[str, JsonObject]
    """What of each step's template concerns its whole pod: steps share one only where this is the same."""

    def launches(self, spec: PipelineRunSpec, candidates: Candidates) -> Sequence[Launch]:
        """Return one Job, or none while one is under way."""
        if candidates.live_workloads or candidates.active > len(candidates.unmade):
            return []
        sequence = tuple(self._sequence(spec, candidates))
        return [Launch(tuple((name, candidates.number(name)) for name in sequence))] if sequence else []

    def _sequence(self, spec: PipelineRunSpec, candidates: Candidates) -> Iterator[str]:
        """Yield the steps of the next pod; what was decided upon before comes first, since the Job has its name."""
        steps = {step.name: step for step in spec.steps}
        succeeded = candidates.succeeded
        chosen = sorted(candidates.unmade)[:1]
        yield from chosen
        for name in topological_order(spec.steps):
            if name in chosen or not candidates.may_start(name):
                continue
            reachable = dependencies_of(steps[name]) <= succeeded.union(chosen)
            alike = not chosen or self.pod_settings[name] == self.pod_settings[chosen[0]]
            if reachable and alike and self._known_to_succeed(steps, steps[name]) <= succeeded:
                chosen.append(name)
                yield name

    @staticmethod
    def _known_to_succeed(steps: Mapping[str, Step], step: Step) -> frozenset[str]:
        """Return the steps that must have succeeded before this one's pod is made.

        Those whose results it uses; and those that have results at all, since only the operator sees whether they are valid.
        """
        used = {reference.result[0] for _, reference in references_of(step) if reference.result}
        return frozenset({*used, *(name for name in dependencies_of(step) if results_of(steps[name]))})
