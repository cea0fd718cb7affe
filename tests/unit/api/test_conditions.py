from __future__ import annotations

from typing import Any

from cairn.api.conditions import Condition, find_condition, set_condition, with_progress
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


class TestProgress:
    """Of `Reconciling` and `Stalled`."""

    def types(self, conditions: list[Condition]) -> list[str]:
        return [condition.type for condition in conditions]

    def test_it_is_told_in_the_words_of_another_condition(self):
        told = ready([], EARLIER, status="False", reason="InvalidSpec", message="Mend it.", generation=3)

        _, stalled = with_progress(told, "Stalled", "Ready", NOW)

        assert (stalled.type, stalled.status, stalled.last_transition_time) == ("Stalled", "True", NOW)
        assert (stalled.reason, stalled.message, stalled.observed_generation) == ("InvalidSpec", "Mend it.", 3)

    def test_it_goes_when_it_holds_no_longer(self):
        told = with_progress(ready([], EARLIER), "Reconciling", "Ready", EARLIER)

        assert self.types(with_progress(told, None, "Ready", NOW)) == ["Ready"]

    def test_one_takes_the_place_of_the_other(self):
        told = with_progress(ready([], EARLIER), "Reconciling", "Ready", EARLIER)

        assert self.types(with_progress(told, "Stalled", "Ready", NOW)) == ["Ready", "Stalled"]

    def test_while_it_holds_its_time_stays(self):
        told = with_progress(ready([], EARLIER), "Reconciling", "Ready", EARLIER)

        _, reconciling = with_progress(ready(told, NOW, reason="Other"), "Reconciling", "Ready", NOW)

        assert (reconciling.reason, reconciling.last_transition_time) == ("Other", EARLIER)
