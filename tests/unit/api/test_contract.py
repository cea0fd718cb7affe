from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.contract import breaks, contract, recorded

FIELD = "Stack spec.size"


def broken(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [*breaks({"Stack spec": {}, FIELD: before}, {"Stack spec": {}, FIELD: after})]


def test_the_api_keeps_what_it_has_promised():
    found = [*breaks(recorded(), contract())]

    assert found == [], "see docs/api-compatibility.md for what to do about it"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ({"type": "string"}, {"type": "integer"}, "type was string and is integer"),
        ({"default": 1}, {"default": 2}, "default was 1 and is 2"),
        ({"default": 1}, {}, "default was 1 and is not given"),
        ({}, {"default": 1}, "default was not given and is 1"),
        ({"enum": ["A", "B"]}, {"enum": ["A"]}, "enum has no B any more"),
        ({}, {"enum": ["A"]}, "may only be one of A now"),
        ({"maxLength": 9}, {"maxLength": 8}, "maxLength was 9 and is 8"),
        ({}, {"maxItems": 8}, "maxItems was not given and is 8"),
        ({}, {"minLength": 1}, "minLength was not given and is 1"),
        ({"minimum": 1}, {"minimum": 2}, "minimum was 1 and is 2"),
        ({"pattern": "a"}, {"pattern": "b"}, "pattern was a and is b"),
        ({}, {"required": True}, "is required now"),
        ({"rules": ["a"]}, {"rules": ["a", "b"]}, "has a new rule: b"),
        (
            {"x-kubernetes-preserve-unknown-fields": True},
            {},
            "x-kubernetes-preserve-unknown-fields was True and is not given",
        ),
        ({"shortNames": ["stk"]}, {"shortNames": []}, "shortNames has no stk any more"),
        (
            {"x-kubernetes-list-type": "map"},
            {"x-kubernetes-list-type": "atomic"},
            "x-kubernetes-list-type was map and is atomic",
        ),
    ],
)
def test_what_breaks_a_manifest_is_found(before: dict[str, Any], after: dict[str, Any], problem: str):
    assert broken(before, after) == [f"{FIELD}: {problem}"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"enum": ["A"]}, {"enum": ["A", "B"]}),
        ({"enum": ["A"]}, {}),
        ({"maxLength": 8}, {"maxLength": 9}),
        ({"maxLength": 8}, {}),
        ({"minimum": 2}, {"minimum": 1}),
        ({"required": True}, {}),
        ({"rules": ["a", "b"]}, {"rules": ["a"]}),
    ],
)
def test_what_allows_more_breaks_nothing(before: dict[str, Any], after: dict[str, Any]):
    assert broken(before, after) == []


def test_what_is_said_of_names_is_promised_too():
    assert "Pipeline metadata.name" in contract()


def test_a_field_that_is_gone_is_found():
    assert [*breaks({FIELD: {}}, {})] == [f"{FIELD}: was removed"]


def test_a_new_field_breaks_nothing():
    assert [*breaks({"Stack spec": {}}, {"Stack spec": {}, FIELD: {}})] == []


def test_a_new_field_that_is_required_is_found():
    after = {"Stack spec": {}, FIELD: {"required": True}}

    assert [*breaks({"Stack spec": {}}, after)] == [f"{FIELD}: is new and required"]


def test_what_a_new_optional_object_requires_breaks_nothing():
    after = {"Stack spec": {}, FIELD: {}, f"{FIELD}.unit": {"required": True}}

    assert [*breaks({"Stack spec": {}}, after)] == []
