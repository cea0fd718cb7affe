"""For what items a step with forEach runs, and what its instances amount to together. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cairn.api.for_each import MOST_INSTANCES
from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.api.step import Step
from cairn.runs.allowance import MOST_ARTIFACTS
from cairn.runs.graph import StepGraph, items_source, outputs_of, results_of
from cairn.runs.instances import Items, RunSteps, run_steps
from cairn.runs.results import NOT_JSON, is_unicode, json_type
from cairn.runs.states import ENDED, SKIPPED_ON_PURPOSE

LONGEST_ITEM = 256
NO_ITEMS = "NoItems"
ITEMS_INVALID = "ItemsInvalid"
REASONS_OF_ITEMS = frozenset({NO_ITEMS, ITEMS_INVALID})
"""Reasons of a step with forEach that has ended for what its items are."""


class InstanceMaker:
    """Makes the steps of one run; they are the same object as long as no other items become known."""

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self._last: tuple[object, RunSteps] | None = None

    def steps(self, recorded: Mapping[str, StepStatus]) -> RunSteps:
        """Return the steps that the run has, given what is recorded of them."""
        items: dict[str, Items] = {}
        problems: dict[str, str] = {}
        without_items: set[str] = set()
        begun = self._begun(recorded)
        for name in sorted(self.graph.order, key=lambda name: name not in begun):
            step = self.graph.steps[name]
            source = items_source(step)
            producer = source.result[0] if source is not None and source.result is not None else None
            if name in recorded and recorded[name].state in ENDED and recorded[name].reason not in REASONS_OF_ITEMS:
                continue  # what has ended does not begin anew
            found = () if producer in without_items else self._items(step, items, recorded)
            if isinstance(found, tuple) and sum(map(len, items.values())) + len(found) > MOST_INSTANCES:
                found = (
                    f"With its {len(found)} items the run would have more than {MOST_INSTANCES} instances of steps; "
                    "make several runs."
                )
            if isinstance(found, tuple) and self._artifacts({**items, name: found}) > MOST_ARTIFACTS:
                found = (
                    f"With its {len(found)} items the run would keep more than {MOST_ARTIFACTS} artifacts; "
                    "keep directories, or make several runs."
                )
            if isinstance(found, str):
                problems[name] = found
            elif found:
                items[name] = found
            elif found is not None:
                without_items.add(name)
        key = (items, problems, without_items)
        if self._last is None or self._last[0] != key:
            self._last = key, run_steps(self.graph, items, problems, frozenset(without_items))
        return self._last[1]

    def _begun(self, recorded: Mapping[str, StepStatus]) -> frozenset[str]:
        """Return the steps whose instances are recorded: no other step may take their room."""
        stems = (name.rpartition("-")[0] for name in recorded if name not in self.graph.steps)
        return frozenset(stem for stem in stems if stem in self.graph.steps)

    def stand_ins(self) -> RunSteps:
        """Return the steps that the run has if each step with forEach has one item."""
        return run_steps(
            self.graph,
            {
                name: ((step.for_each.items or ("item",))[0],)
                for name, step in self.graph.steps.items()
                if step.for_each is not None
            },
        )

    def _artifacts(self, items: Mapping[str, Items]) -> int:
        return sum(
            len(outputs_of(step)) * (len(items[name]) if name in items else 1)
            for name, step in self.graph.steps.items()
        )

    def _items(self, step: Step, items: Mapping[str, Items], recorded: Mapping[str, StepStatus]) -> Items | str | None:
        """Return the items, what is wrong with them, or None where there are none yet."""
        if step.for_each is None:
            return None
        source = items_source(step)
        if source is None:
            return step.for_each.items or ()
        if source.parameter is not None:
            values = {parameter.name: parameter.value for parameter in self.graph.spec.parameters or ()}
            return parse_items(source.text, values[source.parameter])
        producer, result = source.parts[1], source.parts[3]
        if producer not in items:
            state = recorded.get(producer)
            text = _result(state, result) if state is not None and state.state == "Succeeded" else None
            return parse_items(source.text, text) if text is not None else None
        states = [recorded.get(f"{producer}-{index}") for index in range(len(items[producer]))]
        known = [state for state in states if state is not None]
        if len(known) < len(states) or _together(producer, known).state != "Succeeded":
            return None
        return parse_items(
            source.text, _json([_result(state, result) for state in known if state.state == "Succeeded"])
        )


def parse_items(source: str, text: str) -> Items | str:
    """Return the items that a JSON list holds, or a sentence that says what is wrong with it."""
    remedy = 'write a JSON list, such as ["a", "b"]'
    try:
        found = json.loads(text)
    except NOT_JSON:
        return f"{source} is not JSON; {remedy}."
    if not isinstance(found, list):
        return f"{source} is a JSON {json_type(found)}, not a list; {remedy}."
    try:
        items = tuple(item if isinstance(item, str) else _json(item) for item in cast(list[Any], found))
    except NOT_JSON:
        return f"{source} holds an item that is nested too deeply; {remedy}."
    if not all(map(is_unicode, items)):
        return f"{source} holds an item that is not valid Unicode; {remedy}."
    longest = max(map(len, items), default=0)
    if longest > LONGEST_ITEM:
        return f"{source} holds an item of {longest} characters; one may have {LONGEST_ITEM}: keep it as an artifact."
    return items


def gathered(steps: RunSteps, name: str, states: Mapping[str, StepStatus]) -> StepStatus:
    """Return what the instances of a step amount to together: its state, as if it were one step."""
    return _together(name, [states[instance] for instance in steps.instances[name]])


def _together(name: str, of_instances: Sequence[StepStatus]) -> StepStatus:
    counts = Counter(state.state for state in of_instances)
    if any(state.state not in ENDED for state in of_instances):
        return StepStatus(name=name, state="Pending")
    for state in ("Failed", "Cancelled"):
        if counts[state]:
            return StepStatus(name=name, state=state)
    against_will = [
        state for state in of_instances if state.state == "Skipped" and state.reason not in SKIPPED_ON_PURPOSE
    ]
    if against_will or counts["Skipped"] == len(of_instances):
        reason = (against_will or of_instances)[0].reason
        return StepStatus(name=name, state="Skipped", reason=reason)
    return StepStatus(name=name, state="Succeeded")


def state_of(steps: RunSteps, name: str, states: Mapping[str, StepStatus]) -> StepStatus:
    """Return the status of a step, or of one with forEach what its instances amount to together."""
    return states[name] if name in states else gathered(steps, name, states)


def result_of(steps: RunSteps, name: str, result: str, states: Mapping[str, StepStatus]) -> str | None:
    """Return a result of a step that has succeeded; of one with forEach, a JSON list of those of its instances."""
    if state_of(steps, name, states).state != "Succeeded":
        return None
    if name in steps.without_items:
        return "[]"
    if name in steps.instances:
        return _gathered_result([states[instance] for instance in steps.instances[name]], result)
    return _result(states[name], result)


def results_by_step(steps: RunSteps, states: Mapping[str, StepStatus]) -> Mapping[tuple[str, str], str]:
    """Return the results of all steps that have succeeded, by step as it is written and result."""
    return {
        (name, result): value
        for name, step in steps.graph.steps.items()
        for result in results_of(step)
        if (value := result_of(steps, name, result, states)) is not None
    }


def artifacts_by_step(
    steps: RunSteps, states: Mapping[str, StepStatus]
) -> Mapping[tuple[str, str], Mapping[str, ArtifactStatus]]:
    """Return what steps that have succeeded have kept, by step and output, each by where it lies within the input.

    That is `""` for the input itself; of a step with forEach, the index of the instance.
    """
    kept: dict[tuple[str, str], dict[str, ArtifactStatus]] = {}
    for name, state in states.items():
        if state.state == "Succeeded":
            kept |= {(name, artifact.name): {"": artifact} for artifact in state.artifacts or ()}
    for name, instances in steps.instances.items():
        for output in outputs_of(steps.graph.steps[name]):
            kept[name, output.name] = {
                str(index): kept[instance, output.name][""]
                for index, instance in enumerate(instances)
                if (instance, output.name) in kept
            }
    for name in steps.without_items:
        kept |= {(name, output.name): {} for output in outputs_of(steps.graph.steps[name])}
    return kept


def _gathered_result(states: Sequence[StepStatus], result: str) -> str:
    return _json([_result(state, result) for state in states])


def _result(state: StepStatus, result: str) -> str | None:
    return next((found.value for found in state.results or () if found.name == result), None)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
