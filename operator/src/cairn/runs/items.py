"""For what items a step with forEach runs. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from cairn.api.for_each import LONGEST_ITEM, MOST_INSTANCES
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.allowance import MOST_ARTIFACTS, artifacts_kept
from cairn.runs.gathering import as_list, own_result, together
from cairn.runs.graph import StepGraph, items_source
from cairn.runs.instances import Items, RunSteps, run_steps
from cairn.runs.results import NOT_JSON, as_json, is_unicode, json_type
from cairn.runs.states import ENDED, SUCCEEDED

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
            if (
                isinstance(found, tuple)
                and artifacts_kept(self.graph.steps.values(), {**items, name: found}) > MOST_ARTIFACTS
            ):
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

    def _items(self, step: Step, items: Mapping[str, Items], recorded: Mapping[str, StepStatus]) -> Items | str | None:
        """Return the items, what is wrong with them, or None where there are none yet."""
        if step.for_each is None:
            return None
        source = items_source(step)
        if source is None:
            return step.for_each.items or ()
        if source.parameter is not None:
            return parse_items(source.text, self.graph.spec.parameter_values[source.parameter])
        producer, result = source.parts[1], source.parts[3]
        if producer not in items:
            state = recorded.get(producer)
            text = own_result(state, result) if state is not None and state.state in SUCCEEDED else None
            return parse_items(source.text, text) if text is not None else None
        states = [recorded.get(f"{producer}-{index}") for index in range(len(items[producer]))]
        known = [state for state in states if state is not None]
        if len(known) < len(states) or together(producer, known).state not in SUCCEEDED:
            return None
        return parse_items(source.text, as_list((state for state in known if state.state in SUCCEEDED), result))


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
        items = tuple(item if isinstance(item, str) else as_json(item) for item in cast(list[Any], found))
    except NOT_JSON:
        return f"{source} holds a number that is not finite, or an item that is nested too deeply; {remedy}."
    if not all(map(is_unicode, items)):
        return f"{source} holds an item that is not valid Unicode; {remedy}."
    longest = max(map(len, items), default=0)
    if longest > LONGEST_ITEM:
        return f"{source} holds an item of {longest} characters; one may have {LONGEST_ITEM}: keep it as an artifact."
    return items
