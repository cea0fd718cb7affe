"""Which steps start together, and in which Jobs: the one thing in which the orchestrators differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.graph import dependencies_of, references_of, topological_order


@dataclass(frozen=True)
class Launch:
    """A Job to create: steps to run one after another in one pod, and which attempt of each it is."""

    attempts: tuple[tuple[str, int], ...]


class Scheduler(Protocol):
    """Decides what starts, given each step's state."""

    def launches(self, spec: PipelineRunSpec, states: Mapping[str, StepStatus]) -> Sequence[Launch]:
        """Return the Jobs to create now."""
        ...


@dataclass(frozen=True)
class OneJobPerStep:
    """The orchestrator `kubernetes`: each step on its own as soon as what it needs has succeeded."""

    max_parallel_steps: int

    def launches(self, spec: PipelineRunSpec, states: Mapping[str, StepStatus]) -> Sequence[Launch]:
        """Return a Job for each ready step, as far as the limits allow."""
        limit = min(self.max_parallel_steps, spec.max_parallel_steps or self.max_parallel_steps)
        active = sum(state.state in {"Queued", "Running"} for state in states.values())
        ready = [step.name for step in spec.steps if _is_ready(step, states)]
        return [Launch(((name, states[name].attempts + 1),)) for name in ready[: max(0, limit - active)]]


@dataclass(frozen=True)
class OnePodForAll:
    """The orchestrator `local`: as many steps as can share a pod, one after another; the next pod when that one has ended."""

    pod_settings: Mapping[str, JsonObject]
    """What of each step's template concerns its whole pod: steps share one only where this is the same."""

    def launches(self, spec: PipelineRunSpec, states: Mapping[str, StepStatus]) -> Sequence[Launch]:
        """Return one Job, or none while one is under way."""
        if any(state.state in {"Queued", "Running"} for state in states.values()):
            return []
        sequence = tuple(self._sequence(spec, states))
        return [Launch(tuple((name, states[name].attempts + 1) for name in sequence))] if sequence else []

    def _sequence(self, spec: PipelineRunSpec, states: Mapping[str, StepStatus]) -> Iterator[str]:
        steps = {step.name: step for step in spec.steps}
        succeeded = {name for name, state in states.items() if state.state == "Succeeded"}
        chosen: list[str] = []
        for name in topological_order(spec.steps):
            if states[name].state != "Pending":
                continue
            reachable = dependencies_of(steps[name]) <= succeeded | set(chosen)
            alike = not chosen or self.pod_settings[name] == self.pod_settings[chosen[0]]
            if reachable and alike and _results_used(steps[name]) <= succeeded:
                chosen.append(name)
                yield name


def _is_ready(step: Step, states: Mapping[str, StepStatus]) -> bool:
    return states[step.name].state == "Pending" and all(
        states[name].state == "Succeeded" for name in dependencies_of(step)
    )


def _results_used(step: Step) -> set[str]:
    """Return the steps whose results must be known before this one's pod can be made."""
    return {reference.result[0] for _, reference in references_of(step) if reference.result}
