from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.schedules.decision import Decision, Policy, decide
from cairn.schedules.times import Times

HOURLY = Times("0 * * * *", "Etc/UTC")
MIDNIGHT = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def at(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


def decided(since: float, now: float, *, is_active: bool = False, **policy: Any) -> Decision:
    return decide(HOURLY, Policy(**policy), at(since), at(now), is_active=is_active)


def skipped(decision: Decision) -> list[datetime]:
    return [item.time for item in decision.skipped]


def test_nothing_is_due_before_the_time():
    decision = decided(0, 0.9)

    assert (decision.starts, skipped(decision), decision.settled) == ([], [], None)


def test_a_time_that_has_come_is_run():
    decision = decided(0, 1)

    assert (decision.starts, decision.settled) == ([at(1)], at(1))


def test_of_times_that_were_missed_the_latest_is_run():
    decision = decided(0, 3.5)

    assert (decision.starts, skipped(decision), decision.settled) == ([at(3)], [at(1), at(2)], at(3))


def test_all_that_were_missed_are_run_where_that_is_asked_for():
    assert decided(0, 3.5, catch_up="All", concurrency="Allow").starts == [at(1), at(2), at(3)]


def test_of_all_that_were_missed_one_is_run_at_a_time_where_two_are_forbidden():
    decision = decided(0, 3.5, catch_up="All")

    assert (decision.starts, decision.settled, skipped(decision)) == ([at(1)], at(1), [])


def test_the_others_wait_while_it_runs():
    decision = decided(1, 3.5, catch_up="All", is_active=True)

    assert (decision.starts, skipped(decision), decision.settled) == ([], [], None)


def test_what_was_missed_is_skipped_where_that_is_asked_for():
    decision = decided(0, 3.5, catch_up="None")

    assert (decision.starts, skipped(decision), decision.settled) == ([], [at(1), at(2), at(3)], at(3))


def test_what_is_in_time_was_not_missed():
    assert decided(0, 3.01, catch_up="None").starts == [at(3)]


def test_what_is_past_its_deadline_is_skipped():
    decision = decided(0, 3.5, deadline=timedelta(minutes=20))

    assert (decision.starts, skipped(decision)) == ([], [at(1), at(2), at(3)])
    assert {item.why for item in decision.skipped} == {"its starting deadline has passed"}


def test_a_time_is_skipped_while_an_earlier_run_is_under_way():
    decision = decided(0, 1, is_active=True)

    assert (decision.starts, skipped(decision), decision.settled) == ([], [at(1)], at(1))


def test_a_run_starts_beside_an_earlier_one_where_that_is_allowed():
    assert decided(0, 1, is_active=True, concurrency="Allow").starts == [at(1)]


def test_a_run_replaces_an_earlier_one_where_that_is_asked_for():
    decision = decided(0, 1, is_active=True, concurrency="Replace")

    assert (decision.starts, decision.replaces) == ([at(1)], True)


def test_nothing_is_replaced_before_the_time():
    assert not decided(0, 0.9, is_active=True, concurrency="Replace").replaces


def test_of_all_that_were_missed_only_the_newest_is_not_replaced():
    decision = decided(0, 3.5, catch_up="All", concurrency="Replace")

    assert (decision.starts, skipped(decision)) == ([at(3)], [at(1), at(2)])


@pytest.mark.parametrize("concurrency", ["Forbid", "Allow", "Replace"])
@given(
    catch_up=st.sampled_from(["Latest", "All", "None"]),
    looks=st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=8),
    deadline=st.none() | st.integers(1, 300),
)
def test_no_time_is_run_twice_or_forgotten(
    concurrency: Any, catch_up: Any, looks: list[tuple[int, bool]], deadline: int | None
):
    policy = Policy(concurrency, catch_up, timedelta(minutes=deadline) if deadline else None)
    since, now = MIDNIGHT, MIDNIGHT
    dealt: list[datetime] = []
    for minutes, is_active in looks:
        now += timedelta(minutes=minutes)
        decision = decide(HOURLY, policy, since, now, is_active=is_active)
        dealt += sorted([*decision.starts, *skipped(decision)])
        since = decision.settled or since

    assert dealt == HOURLY.between(MIDNIGHT, since, 1000)
