"""The order of a run's steps."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

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
    for field, texts in (("command", step.command), ("args", step.args)):
        for index, text in enumerate(texts or ()):
            for reference in references_in(text):
                yield f"{field}[{index}]", reference
    for variable in (*(step.env or ()), *((step.pod_template and step.pod_template.env) or ())):
        for reference in references_in(variable.value or ""):
            yield f"env[{variable.name}]", reference


def dependencies_of(step: Step) -> frozenset[str]:
    """Return the steps that must succeed first: `dependsOn`, and whose artifacts or results the step uses."""
    artifacts = {source.from_.split(".")[0] for source in inputs_of(step) if source.from_}
    results = {reference.result[0] for _, reference in references_of(step) if reference.result}
    return frozenset({*(step.depends_on or ()), *artifacts, *results})


def topological_order(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the names so that each step comes after those it needs, otherwise as early as it is written.

    Raises:
        StepCycleError: steps wait for each other.
    """
    needs: Mapping[str, frozenset[str]] = {step.name: dependencies_of(step) for step in steps}
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
            heapq.heappush(ready, (position.get(name, len(position)), name))
        _, first = heapq.heappop(ready)
        order.append(first)
        sorter.done(first)
    return tuple(order)
