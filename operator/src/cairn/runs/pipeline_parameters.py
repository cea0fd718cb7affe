"""The parameters that a Pipeline declares, and what a run gives for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from cairn.api.pipeline import BOOLEANS, INTEGER, NUMBER, ParameterDeclaration
from cairn.runs.problem import Problem

EXAMPLES = {"Integer": '"3"', "Number": '"0.5"', "Boolean": '"true" or "false"'}


def parameter_problems(
    declared: Sequence[ParameterDeclaration], given: Mapping[str, str], pipeline: str
) -> Iterator[Problem]:
    """Yield what is wrong with the values that a run gives for the parameters of its Pipeline."""
    names = {parameter.name for parameter in declared}
    for name in given:
        if name not in names:
            known = f"it has: {', '.join(sorted(names))}" if names else "it has none"
            yield Problem(f"spec.parameters[{name}]", f"Pipeline {pipeline} has no parameter {name}; {known}")
    for parameter in declared:
        value = given.get(parameter.name, parameter.default)
        at = f"spec.parameters[{parameter.name}]"
        if value is None:
            what = f": {parameter.description}" if parameter.description else ""
            yield Problem(at, f"Pipeline {pipeline} asks for a value{what}; give one")
        elif not _is_of_type(parameter, value):
            yield Problem(at, f"must be a value of type {parameter.type}, such as {EXAMPLES[parameter.type]}")
        elif parameter.enum is not None and value not in parameter.enum:
            yield Problem(at, f"must be one of: {', '.join(parameter.enum)}")


def values_of(declared: Sequence[ParameterDeclaration], given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the value of each parameter: the given one, else its default; without those that have neither."""
    values = {parameter.name: given.get(parameter.name, parameter.default) for parameter in declared}
    return {name: value for name, value in values.items() if value is not None}


def stand_ins(declared: Sequence[ParameterDeclaration]) -> Mapping[str, str]:
    """Return a value of each parameter with which the pipeline can be judged before a run gives any."""
    return {
        parameter.name: _example(parameter) if parameter.default is None else parameter.default
        for parameter in declared
    }


def _example(parameter: ParameterDeclaration) -> str:
    if parameter.enum:
        return parameter.enum[0]
    return {"String": "", "Integer": "0", "Number": "0", "Boolean": "false"}[parameter.type]


def _is_of_type(parameter: ParameterDeclaration, value: str) -> bool:
    match parameter.type:
        case "Integer":
            return re.fullmatch(INTEGER, value) is not None
        case "Number":
            return re.fullmatch(NUMBER, value) is not None
        case "Boolean":
            return value in BOOLEANS
        case "String":
            return True
