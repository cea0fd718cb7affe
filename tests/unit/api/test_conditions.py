from __future__ import annotations

from typing import Any

from cairn.api.conditions import Condition, find_condition, set_condition
from tests.unit.builders import EARLIER, LATER, NOW


def ready(conditions: list[Condition], now: str, **fields: Any) -> list[Condition]:
    values: dict[str, Any] = {"status": "True", "reason": "Checked", "message": "It works.", "generation": 1, **fields}
    return set_condition(conditions, "Ready", now=now, **values)


def test_a_condition_is_added():
    (condition,) = ready([], NOW)

    assert (condition.type, condition.status, condition.last_transition_time) == ("Ready", "True", NOW)


def test_its_time_moves_when_its_status_does():
    conditions = ready(ready([], EARLIER), NOW, status="False", reason="BucketNotFound")

    assert conditions[0].last_transition_time == NOW


def test_its_time_stays_when_only_its_reason_message_or_generation_changes():
    conditions = ready(ready([], EARLIER), LATER, reason="Other", message="Other.", generation=2)

    assert conditions[0].last_transition_time == EARLIER
    assert (conditions[0].reason, conditions[0].message, conditions[0].observed_generation) == ("Other", "Other.", 2)


def test_other_conditions_keep_their_place():
    other = Condition(
        type="Other", status="True", reason="X", message="", last_transition_time=EARLIER, observed_generation=1
    )

    conditions = ready(ready([other], EARLIER), NOW, status="False")

    assert [condition.type for condition in conditions] == ["Other", "Ready"]
    assert conditions[0] == other


def test_what_was_given_is_not_changed():
    before = ready([], EARLIER)

    ready(before, NOW, status="False")

    assert before[0].status == "True"


def test_a_message_is_cut_to_what_the_schema_takes():
    assert len(ready([], NOW, message="x" * 5000)[0].message) == 4096


def test_a_condition_is_found_by_its_type():
    conditions = ready([], NOW)

    assert find_condition(conditions, "Ready") == conditions[0]
    assert find_condition(conditions, "Other") is None
