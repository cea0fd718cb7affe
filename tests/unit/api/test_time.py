from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.time import parse, seconds_between, timestamp


def test_a_time_is_written_in_utc_to_the_second():
    moment = datetime(2026, 1, 1, 2, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))

    assert timestamp(moment) == "2026-01-01T00:00:00Z"


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
def test_a_time_that_is_written_can_be_read(moment: datetime):
    assert parse(timestamp(moment)) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z", 90),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00.250000Z", "2026-01-01T00:00:02Z", 2),
    ],
)
def test_the_seconds_between_two_times_are_whole_and_never_negative(start: str, end: str, seconds: int):
    assert seconds_between(start, end) == seconds
