"""CEL: conditions of tasks, and selectors that take a part of an output parameter."""

from __future__ import annotations

import json
from typing import Any

from cel_expr_python import cel

from .state import Values
from .values import kind_of, plain, to_text

_FAILED = (RuntimeError, ValueError)
"""What the library raises."""
_FIELDS = {
    "null_value": cel.Type.DYN,
    "number_value": cel.Type.DOUBLE,
    "string_value": cel.Type.STRING,
    "bool_value": cel.Type.BOOL,
    "struct_value": cel.Type.DYN,
    "list_value": cel.Type.DYN,
}


class ExpressionError(ValueError):
    """An expression is not valid, or cannot be evaluated."""


def _floats(value: Any) -> Any:
    """Return a value whose numbers are doubles, as they are in `google.protobuf.Value`."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    return [_floats(item) for item in value] if isinstance(value, list) else value


def _parse_json(text: str) -> Any:
    return _floats(json.loads(text))


_PARSE_JSON = cel.FunctionDecl(
    "parseJson",
    [cel.Overload("parse_json", return_type=cel.Type.DYN, parameters=[cel.Type.STRING], impl=_parse_json)],
)
_SELECTORS = cel.NewEnv(variables=_FIELDS, functions=[_PARSE_JSON])
_CONDITIONS = cel.NewEnv(variables={"inputs": cel.Type.DYN, "outputs": cel.Type.DYN}, functions=[_PARSE_JSON])


def select(value: Any, selector: str) -> Any:
    """Return the part of a value that a selector names; its text is always there as `string_value`."""
    fields: dict[str, Any] = {}
    if value is not None:
        fields[f"{kind_of(value)}_value"] = _floats(value)
    return _evaluate(_SELECTORS, selector, {**fields, "string_value": to_text(value)})


def holds(condition: str, inputs: Values) -> bool:
    """Return whether a task is to run."""
    executor_input = {
        "inputs": {
            "parameter_values": _floats(inputs.parameters),
            "artifacts": {
                name: {"artifacts": [{"name": one.name, "uri": one.uri, "metadata": one.metadata} for one in found]}
                for name, found in inputs.artifacts.items()
            },
        },
        "outputs": {},
    }
    found = _evaluate(_CONDITIONS, condition, executor_input)
    if not isinstance(found, bool):
        raise ExpressionError(f"evaluation error: return type is not bool, got {found}")
    return found


def _evaluate(environment: cel.Env, expression: str, data: dict[str, Any]) -> Any:
    try:
        found = environment.compile(expression).eval(data=data)
    except _FAILED as error:
        raise ExpressionError(f"evaluation error: {error}") from error
    if found.type() == cel.Type.ERROR:
        raise ExpressionError(f"evaluation error: {found.value()}")
    return plain(found.plain_value())
