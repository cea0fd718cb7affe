"""Values from output parameters' files, and as text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kfp.backend.ir import ParameterType
from tests.kfp.backend.values import ConversionError, from_text, to_text


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (" a\n", "STRING", " a\n"),
        ("42\n", "NUMBER_INTEGER", 42),
        ("0.5\n", "NUMBER_DOUBLE", 0.5),
        ("true\n", "BOOLEAN", True),
        ("F", "BOOLEAN", False),
        ("[1, 2.0]", "LIST", [1, 2]),
        ('{"a": null}', "STRUCT", {"a": None}),
    ],
)
def test_text_of_a_file(text: str, kind: ParameterType, value: Any) -> None:
    assert from_text(text, kind) == value


@pytest.mark.parametrize(("text", "kind"), [("4.2", "NUMBER_INTEGER"), ("yes", "BOOLEAN"), ("{", "STRUCT")])
def test_text_that_is_not_of_its_type(text: str, kind: ParameterType) -> None:
    with pytest.raises(ConversionError):
        from_text(text, kind)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (1e21, "1000000000000000000000"), (1e-7, "0.0000001"), (False, "false")]
)
def test_values_as_text(value: Any, text: str) -> None:
    assert to_text(value) == text
