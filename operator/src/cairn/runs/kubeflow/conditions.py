"""From `when` to the condition of a task: the same language, CEL, with other names for what it sees. Pure.

Kubeflow Pipelines evaluates it over the inputs of the task, with Google's implementation, as the operator does (ExecutorInput in
https://github.com/kubeflow/pipelines/blob/2.17.0/api/v2alpha1/pipeline_spec.proto).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial

from cairn.api.step import Step
from cairn.runs.graph import StepGraph, results_of
from cairn.runs.instances import RunSteps, item_of, written_name
from cairn.runs.kubeflow.texts import STATUS, TaskParameters
from cairn.runs.when import identifier

_RUN_STATE = f'(parseJson(inputs.parameter_values["{STATUS}"])["state"] == "COMPLETE" ? "Succeeded" : "Failed")'
_TOKEN = re.compile(
    r"""(?P<text>[rR]?(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))"""
    r"""|(?P<path>(?<![\w.])[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)""",
    re.DOTALL,
)
_DOT = re.compile(r"\s*\.\s*")
Rename = Callable[[str], str | None]
"""Returns what stands for a variable, such as `params.alpha`; None for what is none."""


def condition_of(steps: RunSteps, step: Step, parameters: TaskParameters) -> str | None:
    """Return the condition of a step's task, which needs the parameters that it asks for; None where it has no `when`."""
    if step.when is None:
        return None
    known = dict(_variables(steps, step, parameters))
    return renamed(step.when, lambda path: known[path]() if path in known else None)


def asked_by(graph: StepGraph, name: str) -> frozenset[tuple[str, str | None]]:
    """Return of which steps a step's `when` asks for a result, or, with None, for how they have ended."""
    expression = graph.steps[name].when
    if expression is None:
        return frozenset()
    known: dict[str, tuple[str, str | None]] = {}
    for before in graph.before(name):
        known[_state_of(before)] = before, None
        known |= {_result_of(before, result): (before, result) for result in results_of(graph.steps[before])}
    found: set[tuple[str, str | None]] = set()

    def look(path: str) -> None:
        if path in known:
            found.add(known[path])

    renamed(expression, look)
    return frozenset(found)


def _variables(steps: RunSteps, step: Step, parameters: TaskParameters) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what `when` can see, each with what stands for it."""
    for parameter in steps.spec.parameters or ():
        yield f"params.{identifier(parameter.name)}", partial(_parameter, parameters, parameter.name)
    item = item_of(step)
    if item is not None:
        yield from (("item.value", partial(str, as_literal(item[0]))), ("item.index", partial(str, item[1])))
    if steps.is_finally(step.name):
        yield "run.state", partial(_run_state, steps, parameters)
    for before in steps.graph.before(written_name(step)):
        yield _state_of(before), partial(str, as_literal("Succeeded"))  # else the task would not be asked
        for result in results_of(steps.graph.steps[before]):
            yield _result_of(before, result), partial(_result, parameters, before, result)


def _state_of(step: str) -> str:
    return f"steps.{identifier(step)}.state"


def _result_of(step: str, result: str) -> str:
    return f"steps.{identifier(step)}.results.{identifier(result)}"


def _parameter(parameters: TaskParameters, name: str) -> str:
    return input_value(parameters.parameter(name))


def _result(parameters: TaskParameters, step: str, result: str) -> str:
    if step in parameters.run_in_pipeline:
        return input_value(parameters.result(step, result))
    return as_literal(parameters.values.results[step, result])


def _run_state(steps: RunSteps, parameters: TaskParameters) -> str:
    if all(steps.is_finally(name) for name in parameters.run_in_pipeline):
        return as_literal("Succeeded")  # the others have ended before, else the run would not go on
    parameters.status()
    return _RUN_STATE


def renamed(expression: str, rename: Rename) -> str:
    """Return an expression with its variables renamed, wherever they are not in a text."""

    def one(match: re.Match[str]) -> str:
        path = match.group("path")
        if path is None:
            return match.group(0)
        parts = _DOT.split(path)
        for length in range(len(parts), 0, -1):
            found = rename(".".join(parts[:length]))
            if found is not None:
                return ".".join((found, *parts[length:]))
        return path

    return _TOKEN.sub(one, expression)


def as_literal(text: str) -> str:
    """Return a text as CEL writes it."""
    return json.dumps(text, ensure_ascii=False)


def input_value(name: str) -> str:
    """Return the expression for the value of an input parameter."""
    return f"inputs.parameter_values[{as_literal(name)}]"
