"""Parameter values as text, and text as parameter values, as KFP's driver and launcher convert them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from .ir import ParameterType

_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class ConversionError(ValueError):
    """A value is not of the type it is declared to be."""


def to_text(value: Any) -> str:
    """Return what a value is as a STRING: itself, or its JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    return _json(value)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else format(Decimal(repr(value)), "f")


def _json(value: Any) -> str:
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character, escaped in _HTML.items():
        text = text.replace(character, escaped)
    return text


def plain(value: Any) -> Any:
    """Return a value whose whole numbers are integers: JSON has one kind of number, and writes 7 for 7.0."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def from_text(text: str, kind: ParameterType) -> Any:
    """Return the value of an output parameter's file. Raises ConversionError."""
    try:
        match kind:
            case "STRING":
                return text
            case "NUMBER_INTEGER":
                return int(text.strip())
            case "NUMBER_DOUBLE":
                return plain(float(text.strip()))
            case "BOOLEAN":
                return _boolean(text.strip())
            case _:
                return plain(json.loads(text))
    except ValueError as error:
        raise ConversionError(f"cannot convert {text!r} to {kind}: {error}") from error


def _boolean(text: str) -> bool:
    if text in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if text in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise ValueError("invalid syntax")


def kind_of(value: Any) -> str:
    """Return the word for a value's kind."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "struct"


KINDS: dict[ParameterType, str] = {
    "NUMBER_DOUBLE": "number",
    "NUMBER_INTEGER": "number",
    "STRING": "string",
    "BOOLEAN": "bool",
    "LIST": "list",
    "STRUCT": "struct",
    "TASK_FINAL_STATUS": "struct",
    "TASK_CONFIG": "struct",
}
"""The kind of value that a type takes."""


def convert_input(name: str, value: Any, kind: ParameterType) -> Any:
    """Return a task's input as its component wants it: anything becomes a STRING, nothing else is converted."""
    if kind == "STRING":
        return to_text(value)
    if value is None:
        raise ConversionError(f'got null for input parameter "{name}"')
    if KINDS.get(kind) != kind_of(value):
        raise ConversionError(f'input parameter "{name}" type mismatch: expect {kind}, got {kind_of(value)}')
    return value
