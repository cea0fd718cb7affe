from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.clients.condition_events import ConditionEvent, EventType, Told, changes

READY = (Told("Ready", "Check"),)
BROKEN: JsonObject = {"status": "False", "reason": "Broken", "message": "It is broken; mend it."}


def status(**fields: Any) -> JsonObject:
    good = {"type": "Ready", "status": "True", "reason": "Checked", "message": "It works.", "observedGeneration": 1}
    return {"conditions": [{**good, **fields}]}


def types(old: JsonObject, new: JsonObject, told: tuple[Told, ...] = READY) -> list[EventType]:
    return [event.type for event in changes(old, new, told)]


def test_a_change_is_told_in_the_condition_s_words():
    (event,) = changes(status(), status(**BROKEN), READY)

    assert event == ConditionEvent("Warning", "Broken", "Check", "It is broken; mend it.")


@pytest.mark.parametrize(
    ("fields", "type_"),
    [({}, "Normal"), ({"status": "Unknown"}, "Normal"), ({"status": "False"}, "Warning")],
    ids=str,
)
def test_a_first_condition_is_told(fields: JsonObject, type_: EventType):
    assert types({}, status(**fields)) == [type_]


def test_what_has_not_changed_is_not_told():
    assert types(status(**BROKEN), status(**BROKEN)) == []


def test_another_message_of_the_same_spec_is_no_change():
    assert types(status(**BROKEN), status(**{**BROKEN, "message": "Used: 4 of 3 pods."})) == []


def test_another_message_of_a_new_spec_that_is_wrong_for_the_same_reason_is_one():
    new = status(**{**BROKEN, "message": "Something else is broken; mend it.", "observedGeneration": 2})

    assert types(status(**BROKEN), new) == ["Warning"]


def test_a_new_spec_that_is_good_as_the_old_one_was_is_no_change():
    assert types(status(), status(message="All 4 work.", observedGeneration=2)) == []


def test_a_condition_that_goes_is_not_told():
    assert types(status(), {"conditions": []}) == []


def test_a_condition_that_is_not_named_is_not_told():
    assert types({}, status(type="Reconciling")) == []


def test_what_a_condition_is_about_is_part_of_it():
    told = (Told("Ready", "Check", cause=lambda status: status["run"]),)

    assert types({**status(), "run": "a"}, {**status(), "run": "b"}, told) == ["Normal"]


def test_a_judge_may_keep_a_change_to_itself():
    assert types({}, status(), (Told("Ready", "Check", lambda _before, _now: None),)) == []
