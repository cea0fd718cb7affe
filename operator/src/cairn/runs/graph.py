"""What the steps of a run wait for, as they are written, and their order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from cairn.api.pipelinerun import RunSpec
from cairn.api.step import InputArtifact, OutputArtifact, Step
from cairn.runs.references import Reference, references_in


class StepCycleError(ValueError):
    """Steps wait for each other."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(" -> ".join(steps))
        self.steps = steps


def inputs_of(step: Step) -> tuple[InputArtifact, ...]:
    """Return the declared input artifacts."""
    return (step.inputs.artifacts if step.inputs else None) or ()


def outputs_of(step: Step) -> tuple[OutputArtifact, ...]:
    """Return the declared output artifacts."""
    return (step.outputs.artifacts if step.outputs else None) or ()


def results_of(step: Step) -> tuple[str, ...]:
    """Return the declared results."""
    return (step.outputs.results if step.outputs else None) or ()


def references_of(step: Step) -> Iterator[tuple[str, Reference]]:
    """Yield (field, reference) for everything in which references are replaced."""
    for field, text in texts_of(step):
        for reference in references_in(text):
            yield field, reference


def texts_of(step: Step) -> Iterator[tuple[str, str]]:
    """Yield (field, text) for the texts of a step in which references are replaced."""
    for field, texts in (("command", step.command), ("args", step.args)):
        for index, text in enumerate(texts or ()):
            yield f"{field}[{index}]", text
    for variable in (*(step.env or ()), *((step.pod_template and step.pod_template.env) or ())):
        yield f"env[{variable.name}]", variable.value or ""


def items_source(step: Step) -> Reference | None:
    """Return the parameter or result that holds the items of a step with forEach, or None."""
    source = step.for_each.items_from if step.for_each else None
    return Reference(source) if source is not None else None


def results_used_by(step: Step) -> frozenset[str]:
    """Return the steps whose results a step uses."""
    used = {reference.result[0] for _, reference in references_of(step) if reference.result}
    source = items_source(step)
    return frozenset({*used, *((source.result[0],) if source is not None and source.result else ())})


def uses_of(step: Step) -> frozenset[str]:
    """Return the steps whose artifacts or results a step uses."""
    artifacts = {source.from_.split(".")[0] for source in inputs_of(step) if source.from_}
    return results_used_by(step) | artifacts


def dependencies_of(step: Step) -> frozenset[str]:
    """Return the steps that come before it: `dependsOn`, and whose artifacts or results the step uses."""
    return uses_of(step) | frozenset(step.depends_on or ())


def topological_order(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the names so that each step comes after those of them that it needs, otherwise as early as it is written.

    Raises:
        StepCycleError: steps wait for each other.
    """
    names = {step.name for step in steps}
    needs: Mapping[str, frozenset[str]] = {step.name: dependencies_of(step) & names for step in steps}
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise StepCycleError(error.args[1]) from error
    position = {step.name: index for index, step in enumerate(steps)}
    order: list[str] = []
    ready: list[tuple[int, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (position[name], name))
        _, first = heapq.heappop(ready)
        order.append(first)
        sorter.done(first)
    return tuple(order)


class StepGraph:
    """The steps of a run as they are written, and what each needs. Computed once; the spec does not change."""

    def __init__(self, spec: RunSpec) -> None:
        """Compute it; raises StepCycleError."""
        last = spec.finally_ or ()
        self.spec = spec
        self.steps: Mapping[str, Step] = {step.name: step for step in spec.all_steps}
        self.finally_steps = frozenset(step.name for step in last)
        self.needs: Mapping[str, frozenset[str]] = {name: dependencies_of(step) for name, step in self.steps.items()}
        self.uses: Mapping[str, frozenset[str]] = {name: uses_of(step) for name, step in self.steps.items()}
        self.order: tuple[str, ...] = (*topological_order(spec.steps), *topological_order(last))
        """Each step after those that it needs, `finally` last."""
        self._before: dict[str, frozenset[str]] = {}

    def before(self, name: str) -> frozenset[str]:
        """Return the steps that have ended when a step starts, whatever else happens."""
        if name not in self._before:
            self._before[name] = self._find_before(name)
        return self._before[name]

    def _find_before(self, name: str) -> frozenset[str]:
        found: set[str] = set()
        if name in self.finally_steps:
            found = {step.name for step in self.spec.steps}
        waiting = [name]
        while waiting:
            new = self.needs[waiting.pop()] - found
            found |= new
            waiting += new
        return frozenset(found)
