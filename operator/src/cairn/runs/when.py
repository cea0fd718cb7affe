"""Whether a step runs: the CEL expressions of `when`, and what they can see. Pure.

Variables are declared under dotted names, so that one that is not there is found out before the run starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from weakref import WeakKeyDictionary

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs import cel
from cairn.runs.cel import Declared, Kind, Question
from cairn.runs.gathering import result_of, state_of
from cairn.runs.graph import StepGraph, results_of
from cairn.runs.instances import RunSteps, StepInstance, written_name
from cairn.runs.states import SUCCEEDED
from cairn.runs.stopping import run_state

_DECLARED: WeakKeyDictionary[StepGraph, dict[str, Declared]] = WeakKeyDictionary()
_WORDS = frozenset({"in", "true", "false", "null"})


def identifier(name: str) -> str:
    """Return a name as CEL can write it: `_` for `-`, and before what it takes for a number or a word of its own."""
    text = name.replace("-", "_")
    return f"_{text}" if text[0].isdigit() or text in _WORDS else text


def _parameter(name: str) -> str:
    return f"params.{identifier(name)}"


def _state(step: str) -> str:
    return f"steps.{identifier(step)}.state"


def _result(step: str, result: str) -> str:
    return f"steps.{identifier(step)}.results.{identifier(result)}"


def _own_result(result: str) -> str:
    return f"results.{identifier(result)}"


def declared_for(graph: StepGraph, name: str) -> Declared:
    """Return the variables that the `when` of a step can see, with their types."""
    known = _DECLARED.setdefault(graph, {})
    if name not in known:
        known[name] = _declared(graph, name)
    return known[name]


def _declared(graph: StepGraph, name: str) -> Declared:
    variables: dict[str, Kind] = {}
    for parameter in graph.spec.parameters or ():
        variables[_parameter(parameter.name)] = "string"
    if graph.steps[name].for_each is not None:
        variables |= {"item.value": "string", "item.index": "int"}
    if name in graph.finally_steps:
        variables["run.state"] = "string"
    for before in graph.before(name) & graph.steps.keys():
        step = graph.steps[before]
        variables[_state(before)] = "string"
        for result in results_of(step):
            variables[_result(before, result)] = "list" if step.for_each else "string"
    return frozenset(variables.items())


def check(graph: StepGraph, name: str) -> None:
    """Check the expression of a step, if it has one; raises CelError with a sentence about what is wrong."""
    expression = graph.steps[name].when
    if expression is not None:
        cel.check(expression, declared_for(graph, name))


def check_register(graph: StepGraph, name: str, expression: str) -> None:
    """Check the expression of what a step registers; raises CelError with a sentence about what is wrong."""
    cel.check(expression, declared_for_register(graph, name))


def declared_for_register(graph: StepGraph, name: str) -> Declared:
    """Return the variables that the `when` of what a step registers can see: what the step's own can, and its results."""
    own: dict[str, Kind] = {_own_result(result): "string" for result in results_of(graph.steps[name])}
    return declared_for(graph, name) | frozenset(own.items())


def question_of_register(steps: RunSteps, step: Step, expression: str, states: Mapping[str, StepStatus]) -> Question:
    """Return what is to be evaluated to know whether something is registered that a step has written."""
    declared = declared_for_register(steps.graph, written_name(step))
    visible = {variable for variable, _ in declared}
    own = ((_own_result(result.name), result.value) for result in states[step.name].results or ())
    values = (*_values(steps, step, expression, states), *own)
    return Question(expression, declared, tuple(item for item in values if item[0] in visible))


def question_of(steps: RunSteps, step: Step, states: Mapping[str, StepStatus]) -> Question:
    """Return what is to be evaluated to know whether a step runs, now that all that it can see has ended."""
    declared = declared_for(steps.graph, written_name(step))
    visible = {variable for variable, _ in declared}
    expression = step.when or ""
    values = (item for item in _values(steps, step, expression, states) if item[0] in visible)
    return Question(expression, declared, tuple(values))


def _values(
    steps: RunSteps, step: Step, expression: str, states: Mapping[str, StepStatus]
) -> Iterator[tuple[str, str | int]]:
    for parameter in steps.spec.parameters or ():
        yield _parameter(parameter.name), parameter.value
    if isinstance(step, StepInstance):
        yield from (("item.value", step.item), ("item.index", step.index))
    if written_name(step) in steps.graph.finally_steps:
        yield "run.state", run_state(steps.spec, [states[name] for name in steps.main if name in states])
    for before in steps.graph.before(written_name(step)):
        if identifier(before) not in expression:
            continue
        state = state_of(steps, before, states).state
        yield _state(before), "Succeeded" if state in SUCCEEDED else state
        for result in results_of(steps.graph.steps[before]):
            value = result_of(steps, before, result, states)
            if value is not None:
                yield _result(before, result), value
