"""CEL expressions: what is wrong with one, and what it amounts to. Pure, and small: a process of its own evaluates them.

The language is https://github.com/google/cel-spec; its implementation is Google's, which checks types before anything runs.
Its macro `map` is left out: chained, it makes texts that fill any memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from cel_expr_python import cel

Kind = Literal["string", "int", "list"]
Declared = frozenset[tuple[str, Kind]]

_TYPES: Mapping[Kind, Any] = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "list": cel.Type.List(cel.Type.DYN),
}
_ENVIRONMENT = cel.NewEnvConfigFromYaml("name: when\nstdlib:\n  exclude_macros: [map]\n")
_FAILED = (RuntimeError, ValueError)
"""What the library raises."""
_AROUND = re.compile(r"^[A-Z_]+: (ERROR: )?(<input>:[0-9:]+ )?|\s*\[[A-Z_]+\]\s*$|\s*\(in container ''\)")
_MISSING = re.compile(r'No value with name "([^"]+)" found')
LONGEST_SENTENCE = 512


class CelError(ValueError):
    """An expression is not valid, or cannot be evaluated."""


@dataclass(frozen=True)
class Question:
    """An expression, the variables it can see with their types, and what they are."""

    expression: str
    declared: Declared
    values: tuple[tuple[str, str | int], ...]
    """Of a variable that is a list, its text in JSON; one that has no value is left out."""


@dataclass(frozen=True)
class Answer:
    """What an expression amounts to."""

    holds: bool = False
    problem: str | None = None
    """Why that cannot be said, in a sentence."""
    is_too_costly: bool = False
    """Whether that is because its evaluation takes too long, or too much memory."""


def check(expression: str, declared: Declared) -> None:
    """Check an expression; raises CelError with a sentence about what is wrong."""
    kind = _compile(expression, declared).return_type().name()
    if kind not in {"BOOL", "DYN"}:
        raise CelError(f"its value is of type {kind.lower()}; write an expression that is true or false")


def evaluate(question: Question) -> Answer:
    """Return what an expression amounts to, however long that takes."""
    try:
        return Answer(holds=_evaluate(question))
    except CelError as error:
        return Answer(problem=str(error)[:LONGEST_SENTENCE])


def _evaluate(question: Question) -> bool:
    kinds = dict(question.declared)
    data = {name: json.loads(str(value)) if kinds[name] == "list" else value for name, value in question.values}
    program = _compile(question.expression, question.declared)
    try:
        found = program.eval(data=data)
    except _FAILED as error:
        raise CelError(_sentence(str(error))) from error
    if found.type() != cel.Type.BOOL:
        if found.type() == cel.Type.ERROR:
            raise CelError(_sentence(str(found.value())))
        raise CelError(f"it is {found.plain_value()!r}; write an expression that is true or false")
    return bool(found.value())


@lru_cache(maxsize=1024)
def _compile(expression: str, declared: Declared) -> Any:
    try:
        return cel.NewEnv(config=_ENVIRONMENT, variables={name: _TYPES[kind] for name, kind in declared}).compile(
            expression
        )
    except _FAILED as error:
        raise CelError(_sentence(str(error))) from error


def _sentence(error: str) -> str:
    """Return what the library says, in one line and without its own words around it."""
    first = error.strip().split("\n")[0]
    missing = _MISSING.search(first)
    if missing:
        return f"{missing.group(1)} has no value, since that step did not succeed; ask for its state first"
    return _AROUND.sub("", first).split(" expecting {")[0]
