"""Whether a step runs: the CEL expressions of `when`. Pure.

The language is https://github.com/google/cel-spec; its implementation is Google's, which checks types before anything runs
and bounds how long an evaluation may take. Its macro `map` is left out: chained, it makes texts that fill any memory.
Variables are declared under dotted names, so that one that is not there is found out before the run starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

from cel_expr_python import cel

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.gathering import result_of, state_of
from cairn.runs.graph import StepGraph, results_of
from cairn.runs.instances import RunSteps, StepInstance, written_name
from cairn.runs.states import SUCCEEDED
from cairn.runs.stopping import run_state

Kind = Literal["string", "int", "list"]
Declared = frozenset[tuple[str, Kind]]

_TYPES: Mapping[Kind, Any] = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "list": cel.Type.List(cel.Type.DYN),
}
_ENVIRONMENT = cel.NewEnvConfigFromYaml("name: when\nstdlib:\n  exclude_macros: [map]\n")
_DECLARED: WeakKeyDictionary[StepGraph, dict[str, Declared]] = WeakKeyDictionary()
_WORDS = frozenset({"in", "true", "false", "null"})
_FAILED = (RuntimeError, ValueError)
"""What the library raises."""
_AROUND = re.compile(r"^[A-Z_]+: (ERROR: )?(<input>:[0-9:]+ )?|\s*\[[A-Z_]+\]\s*$|\s*\(in container ''\)")
_MISSING = re.compile(r'No value with name "([^"]+)" found')


class WhenError(ValueError):
    """An expression is not valid, or cannot be evaluated."""


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
    """Check the expression of a step, if it has one; raises WhenError with a sentence about what is wrong."""
    expression = graph.steps[name].when
    if expression is None:
        return
    kind = _compile(expression, declared_for(graph, name)).return_type().name()
    if kind not in {"BOOL", "DYN"}:
        raise WhenError(f"its value is of type {kind.lower()}; write an expression that is true or false")


def holds(steps: RunSteps, step: Step, states: Mapping[str, StepStatus]) -> bool:
    """Return whether a step runs, now that all that it can see has ended; raises WhenError with a sentence."""
    name = written_name(step)
    declared = declared_for(steps.graph, name)
    values = dict(_values(steps, step, states))
    program = _compile(step.when or "", declared)
    try:
        found = program.eval(data={variable: values[variable] for variable, _ in declared if variable in values})
    except _FAILED as error:
        raise WhenError(_sentence(str(error))) from error
    if found.type() != cel.Type.BOOL:
        if found.type() == cel.Type.ERROR:
            raise WhenError(_sentence(str(found.value())))
        raise WhenError(f"it is {found.plain_value()!r}; write an expression that is true or false")
    return bool(found.value())


def _values(steps: RunSteps, step: Step, states: Mapping[str, StepStatus]) -> Iterator[tuple[str, object]]:
    for parameter in steps.spec.parameters or ():
        yield _parameter(parameter.name), parameter.value
    if isinstance(step, StepInstance):
        yield from (("item.value", step.item), ("item.index", step.index))
    if written_name(step) in steps.graph.finally_steps:
        yield "run.state", run_state(steps.spec, [states[name] for name in steps.main if name in states])
    for before in steps.graph.before(written_name(step)):
        if identifier(before) not in (step.when or ""):
            continue
        state = state_of(steps, before, states).state
        yield _state(before), "Succeeded" if state in SUCCEEDED else state
        for result in results_of(steps.graph.steps[before]):
            value = result_of(steps, before, result, states)
            if value is not None:
                is_list = steps.graph.steps[before].for_each is not None
                yield _result(before, result), json.loads(value) if is_list else value


@lru_cache(maxsize=1024)
def _compile(expression: str, declared: Declared) -> Any:
    try:
        return cel.NewEnv(config=_ENVIRONMENT, variables={name: _TYPES[kind] for name, kind in declared}).compile(
            expression
        )
    except _FAILED as error:
        raise WhenError(_sentence(str(error))) from error


def _sentence(error: str) -> str:
    """Return what the library says, in one line and without its own words around it."""
    first = error.strip().split("\n")[0]
    missing = _MISSING.search(first)
    if missing:
        return f"{missing.group(1)} has no value, since that step did not succeed; ask for its state first"
    return _AROUND.sub("", first).split(" expecting {")[0]
