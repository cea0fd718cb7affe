from __future__ import annotations

import pytest

from cairn.clients import event_allowance as module
from cairn.clients.event_allowance import AT_ONCE, SECONDS_FOR_ONE, EventAllowance
from tests.unit.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def allowance(clock: ManualClock) -> EventAllowance:
    return EventAllowance(clock)


def taken(allowance: EventAllowance, times: int, uid: str = "a", reason: str = "Pending") -> int:
    """Return how many of so many Events there may be."""
    return sum(allowance.take(uid, reason) for _ in range(times))


def test_what_flaps_has_so_many_events(allowance: EventAllowance):
    assert taken(allowance, 100) == AT_ONCE


def test_another_reason_and_another_object_have_their_own(allowance: EventAllowance):
    taken(allowance, 100)

    assert taken(allowance, 1, reason="Completed") == 1
    assert taken(allowance, 1, uid="b") == 1


def test_time_brings_one_after_the_other(allowance: EventAllowance, clock: ManualClock):
    taken(allowance, 100)

    clock.advance(2 * SECONDS_FOR_ONE)

    assert taken(allowance, 100) == 2


def test_a_schedule_s_run_each_minute_is_never_too_much(allowance: EventAllowance, clock: ManualClock):
    for _ in range(100):
        clock.advance(60)
        assert taken(allowance, 1) == 1


def test_no_time_brings_more_than_at_the_beginning(allowance: EventAllowance, clock: ManualClock):
    taken(allowance, 1)

    clock.advance(100 * SECONDS_FOR_ONE)

    assert taken(allowance, 100) == AT_ONCE


def test_what_had_an_event_longest_ago_is_forgotten(allowance: EventAllowance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    for uid in ("a", "b", "a", "c"):  # c takes the place of b
        taken(allowance, 100, uid=uid)

    assert (taken(allowance, 1, uid="a"), taken(allowance, 1, uid="b")) == (0, 1)
