"""Conditions and selectors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kfp.backend.expressions import ExpressionError, holds, select
from tests.kfp.backend.state import Values


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("inputs.parameter_values['s'] == 'heads'", True),
        ("inputs.parameter_values['s'] != 'heads'", False),
        ("int(inputs.parameter_values['n']) > 2", True),
        ("inputs.parameter_values['n'] == 3", True),
        ("inputs.parameter_values['b'] == true && !(inputs.parameter_values['s'] == 'tails')", True),
        ("double(parseJson(inputs.parameter_values['j'])['score']) >= 0.5", True),
        ("inputs.parameter_values['s'] in ['heads', 'tails']", True),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    inputs = Values(parameters={"s": "heads", "n": 3, "b": True, "j": '{"score": 0.9}'})

    assert holds(condition, inputs) is expected


@pytest.mark.parametrize(
    "condition", ["inputs.parameter_values['unknown'] == 'a'", "1 +", "'a'", "parseJson('{')['a'] == 1"]
)
def test_conditions_that_cannot_be_evaluated(condition: str) -> None:
    with pytest.raises(ExpressionError):
        holds(condition, Values())


@pytest.mark.parametrize(
    ("value", "selector", "expected"),
    [
        ({"a": {"b": [1, 2]}}, 'parseJson(string_value)["a"]["b"]', [1, 2]),
        ('{"a": 1.5}', 'parseJson(string_value)["a"]', 1.5),
        ({"a": "x"}, 'struct_value["a"]', "x"),
        (7, "number_value", 7),
        (7, "string_value", "7"),
    ],
)
def test_selectors(value: Any, selector: str, expected: Any) -> None:
    assert select(value, selector) == expected


def test_a_selector_that_finds_nothing_is_an_error() -> None:
    with pytest.raises(ExpressionError):
        select({"a": 1}, 'parseJson(string_value)["b"]')
