"""The steps that a run has by now: of one with forEach its instances, once its items are known. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.graph import StepGraph
from cairn.runs.states import ENDED

Items = tuple[str, ...]


class StepInstance(Step):
    """A step for one item; made of what is written, never written itself."""

    instance_of: str
    """The step as it is written."""
    item: str
    index: int


def item_of(step: Step) -> tuple[str, int] | None:
    """Return value and index of the item that an instance of a step is for."""
    return (step.item, step.index) if isinstance(step, StepInstance) else None


def written_name(step: Step) -> str:
    """Return the name of the step as it is written."""
    return step.instance_of if isinstance(step, StepInstance) else step.name


@dataclass(frozen=True)
class RunSteps:
    """The steps that a run has by now."""

    graph: StepGraph
    by_name: Mapping[str, Step]
    """In the order of the status."""
    instances: Mapping[str, tuple[str, ...]]
    """The instances of each step with forEach whose items are known, and are at least one."""
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is wrong with the items of a step with forEach."""
    without_items: frozenset[str] = frozenset()
    """Steps with forEach whose items are none."""

    @property
    def spec(self) -> RunSpec:
        """The run's spec."""
        return self.graph.spec

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Each step after those that it needs, `finally` last; a step with forEach after its instances."""
        return tuple(self._order())

    @cached_property
    def main(self) -> tuple[str, ...]:
        """The steps that are not of `finally`."""
        return tuple(name for name in self.by_name if not self.is_finally(name))

    @cached_property
    def at_the_end(self) -> tuple[str, ...]:
        """The steps of `finally`."""
        return tuple(name for name in self.by_name if self.is_finally(name))

    def is_finally(self, name: str) -> bool:
        """Return whether a step, or the step that it is an instance of, is one of `finally`."""
        return self.written(name) in self.graph.finally_steps

    def main_has_ended(self, states: Mapping[str, StepStatus]) -> bool:
        """Return whether it is time for the steps of `finally`."""
        return all(states[name].state in ENDED for name in self.main)

    def needs(self, name: str) -> frozenset[str]:
        """Return the steps that a step needs, as they are written."""
        return self.graph.needs[self.written(name)]

    def uses(self, name: str) -> frozenset[str]:
        """Return the steps whose outputs a step uses, as they are written."""
        return self.graph.uses[self.written(name)]

    def written(self, name: str) -> str:
        """Return the name of a step as it is written."""
        return written_name(self.by_name[name]) if name in self.by_name else name

    def _order(self) -> Iterator[str]:
        for name in self.graph.order:
            yield from self.instances.get(name, ())
            yield name


def run_steps(
    graph: StepGraph,
    items: Mapping[str, Items],
    problems: Mapping[str, str] | None = None,
    without_items: frozenset[str] = frozenset(),
) -> RunSteps:
    """Return the steps of a run in which these steps with forEach have these items, at least one each."""
    by_name: dict[str, Step] = {}
    instances: dict[str, tuple[str, ...]] = {}
    for name, step in graph.steps.items():
        made = [_instance(step, index, item) for index, item in enumerate(items.get(name, ()))]
        if made:
            instances[name] = tuple(instance.name for instance in made)
        by_name |= {one.name: one for one in made or [step]}
    return RunSteps(graph, by_name, instances, problems or {}, without_items)


def _instance(step: Step, index: int, item: str) -> StepInstance:
    fields: dict[str, Any] = {**dict(step), "name": f"{step.name}-{index}", "for_each": None}
    return StepInstance.model_construct(None, **fields, instance_of=step.name, item=item, index=index)
