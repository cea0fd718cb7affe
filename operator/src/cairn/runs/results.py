"""What a step wrote as its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from cairn.api.step import Step
from cairn.runs.graph import results_of

RESULTS_INVALID = "ResultsInvalid"
"""Reason of a step whose results are missing, or not what it declares."""
MOST_BYTES = 4096
"""The kubelet keeps so much of a termination message."""
NOT_JSON = (ValueError, RecursionError)
"""What `json.loads` raises; the latter for a few thousand brackets."""


def parse_results(step: Step, text: str) -> Mapping[str, str] | str:
    """Return the results that a step wrote, or a sentence that says what is wrong with them."""
    names = ", ".join(results_of(step))
    if not text.strip():
        return f"Step {step.name} declares results ({names}) but wrote none to the file that CAIRN_RESULTS names."
    try:
        found = json.loads(text)
    except NOT_JSON:
        what = "is larger than 4 KiB" if len(text.encode()) >= MOST_BYTES else "is not a JSON object"
        return (
            f"What step {step.name} wrote to the file that CAIRN_RESULTS names {what}; write a flat object of {names}."
        )
    if not isinstance(found, dict):
        return f"Step {step.name} wrote a JSON {json_type(found)} as its results; write a flat object of {names}."
    values = cast(Mapping[str, Any], found)
    return _problem_of_names(step, values) or _problem_of_values(step, values) or _as_text(values)


def json_object(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object that a text is, or None."""
    try:
        found = json.loads(text)
    except NOT_JSON:
        return None
    return cast(Mapping[str, Any], found) if isinstance(found, dict) else None


def as_json(value: object) -> str:
    """Return a value as JSON without blanks; raises ValueError for a number that is not finite."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_type(value: object) -> str:
    """Return what JSON calls such a value."""
    names: dict[type[object], str] = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _problem_of_names(step: Step, values: Mapping[str, Any]) -> str | None:
    declared = results_of(step)
    if not all(map(is_unicode, values)):
        names = ", ".join(declared)
        return (
            f"Step {step.name} wrote a result whose name is not valid Unicode; write those that it declares: {names}."
        )
    for name in declared:
        if name not in values:
            return f"Step {step.name} did not write the result {name}; it wrote: {', '.join(values) or 'none'}."
    for name in values:
        if name not in declared:
            return f"Step {step.name} wrote the result {name}, which it does not declare; add it to outputs.results."
    return None


def _problem_of_values(step: Step, values: Mapping[str, Any]) -> str | None:
    for name, value in values.items():
        if isinstance(value, dict) or value is None:
            return f"Result {name} of step {step.name} is not a string, number, boolean or list; write one of these."
        try:
            text = _text(value)
        except ValueError:
            return f"Result {name} of step {step.name} has a number that is not finite, which JSON cannot say; write it as a text."
        if "\0" in text:
            return f"Result {name} of step {step.name} has a null character, which no argument can; write it otherwise."
        if not is_unicode(text):
            return f"Result {name} of step {step.name} is not valid Unicode; write it otherwise, such as in hex."
    return None


def _as_text(values: Mapping[str, Any]) -> Mapping[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    """Return a result as text; raises ValueError for a number that is not finite."""
    if isinstance(value, str):
        return value
    return as_json(value)


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can hold a text: JSON may escape half of a surrogate pair, which the API server refuses."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
