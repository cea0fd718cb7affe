from __future__ import annotations

from typing import Any

import pytest

from cairn.api.pipeline import ParameterDeclaration
from cairn.runs.pipeline_parameters import parameter_problems, stand_ins, values_of


def declared(**fields: Any) -> list[ParameterDeclaration]:
    return [ParameterDeclaration.model_validate({"name": "alpha", **fields})]


def problems(parameters: list[ParameterDeclaration], **given: str) -> list[str]:
    return [str(problem) for problem in parameter_problems(parameters, given, "wine")]


def test_what_is_given_goes_before_the_default():
    assert values_of(declared(default="0.5"), {"alpha": "0.1"}) == {"alpha": "0.1"}


def test_the_default_goes_where_nothing_is_given():
    assert values_of(declared(default="0.5"), {}) == {"alpha": "0.5"}


def test_a_value_has_to_be_given_where_there_is_no_default():
    assert problems(declared(description="How strict it is")) == [
        "spec.parameters[alpha]: Pipeline wine asks for a value: How strict it is; give one"
    ]


def test_a_parameter_that_is_not_declared_is_refused():
    assert problems(declared(default="1"), beta="1") == [
        "spec.parameters[beta]: Pipeline wine has no parameter beta; it has: alpha"
    ]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("String", "anything"),
        ("Integer", "-3"),
        ("Integer", "+12"),
        ("Number", "0.5"),
        ("Number", "1e-4"),
        ("Number", ".5"),
        ("Boolean", "true"),
        ("Boolean", "false"),
    ],
)
def test_a_value_of_its_type_is_accepted(type_: str, value: str):
    assert problems(declared(type=type_), alpha=value) == []


@pytest.mark.parametrize(
    ("type_", "value", "example"),
    [
        ("Integer", "0.5", '"3"'),
        ("Integer", "3\n", '"3"'),
        ("Number", "half", '"0.5"'),
        ("Number", "nan", '"0.5"'),
        ("Boolean", "yes", '"true" or "false"'),
        ("Boolean", "True", '"true" or "false"'),
    ],
)
def test_a_value_of_another_type_is_refused_with_an_example(type_: str, value: str, example: str):
    assert problems(declared(type=type_), alpha=value) == [
        f"spec.parameters[alpha]: must be a value of type {type_}, such as {example}"
    ]


def test_a_value_that_is_not_among_the_choices_is_refused():
    assert problems(declared(enum=["a", "b"]), alpha="c") == ["spec.parameters[alpha]: must be one of: a, b"]


@pytest.mark.parametrize("fields", [{}, {"type": "Integer"}, {"type": "Boolean"}, {"type": "Number"}, {"enum": ["x"]}])
def test_a_stand_in_is_a_value_that_a_run_could_give(fields: dict[str, Any]):
    parameters = declared(**fields)

    assert problems(parameters, **stand_ins(parameters)) == []
