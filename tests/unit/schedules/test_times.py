from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.schedules.times import InvalidScheduleError, Times

BERLIN = "Europe/Berlin"
"""Clocks go forward on 2026-03-29 at 01:00 UTC, and back on 2026-10-25 at 01:00 UTC."""


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def written(times: list[datetime]) -> list[str]:
    return [time.strftime("%m-%d %H:%M") for time in times]


def test_the_next_time_is_after_the_moment():
    assert Times("0 * * * *", "Etc/UTC").after(moment("2026-01-01T03:00:00")) == moment("2026-01-01T04:00:00")


def test_times_are_of_the_time_zone():
    assert Times("0 3 * * *", "Asia/Tokyo").after(moment("2026-01-01T00:00:00")) == moment("2026-01-01T18:00:00")


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        ("@hourly", "2026-01-01T01:00:00"),
        ("@daily", "2026-01-02T00:00:00"),
        ("@weekly", "2026-01-04T00:00:00"),
        ("@monthly", "2026-02-01T00:00:00"),
        ("@yearly", "2027-01-01T00:00:00"),
    ],
)
def test_a_word_stands_for_an_expression(macro: str, expected: str):
    assert Times(macro, "Etc/UTC").after(moment("2026-01-01T00:00:00")) == moment(expected)


def test_a_time_that_clocks_leave_out_is_kept_once_they_have_gone_forward():
    times = Times("30 2 * * *", BERLIN).between(moment("2026-03-28T12:00:00"), moment("2026-03-30T12:00:00"), 10)

    assert written(times) == ["03-29 01:00", "03-30 00:30"]


def test_a_time_that_clocks_show_twice_is_kept_once():
    times = Times("30 2 * * *", BERLIN).between(moment("2026-10-24T12:00:00"), moment("2026-10-26T12:00:00"), 10)

    assert written(times) == ["10-25 00:30", "10-26 01:30"]


def test_every_hour_is_kept_on_a_day_of_25_hours():
    times = Times("0 * * * *", BERLIN).between(moment("2026-10-24T22:00:00"), moment("2026-10-25T23:00:00"), 30)

    assert len(times) == 25


def test_only_the_newest_are_returned():
    times = Times("* * * * *", "Etc/UTC").between(moment("2020-01-01T00:00:00"), moment("2026-01-01T00:00:30"), 3)

    assert written(times) == ["12-31 23:58", "12-31 23:59", "01-01 00:00"]


def test_a_schedule_that_comes_every_four_years_is_found():
    times = Times("0 0 29 2 *", "Etc/UTC").between(moment("2019-01-01T00:00:00"), moment("2026-01-01T00:00:00"), 100)

    assert [time.year for time in times] == [2020, 2024]


def test_a_date_that_comes_every_28_years_has_times():
    times = Times("0 0 29 2 */7", "Etc/UTC").between(moment("2020-01-01T00:00:00"), moment("2060-01-01T00:00:00"), 100)

    assert [time.year for time in times] == [2032]


@pytest.mark.parametrize(
    ("schedule", "zone", "message"),
    [
        ("0 0 31 2 *", "Etc/UTC", "spec.schedule: 0 0 31 2 * is no cron expression: Bad day-of-month"),
        ("30-5 * * * *", "Etc/UTC", "spec.schedule: 30-5 * * * * is no cron expression: Bad minute"),
        (
            "@hourly",
            "Mars/Olympus",
            "spec.timeZone: there is no time zone Mars/Olympus; name one such as Europe/Berlin",
        ),
    ],
)
def test_what_has_no_times_says_why(schedule: str, zone: str, message: str):
    with pytest.raises(InvalidScheduleError) as refused:
        Times(schedule, zone)

    assert str(refused.value) == message


def test_a_date_is_that_of_the_time_zone():
    assert Times("@daily", "Asia/Tokyo").date_of(moment("2026-01-01T18:00:00")) == "2026-01-02"


@given(
    schedule=st.sampled_from(["*/20 * * * *", "30 2 * * *", "15 1,3 * * 1-5", "0 0 1 * *"]),
    zone=st.sampled_from(["Etc/UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001 - hypothesis takes naive bounds
    minutes=st.lists(st.integers(0, 1500), min_size=1, max_size=4),
)
def test_however_often_it_is_looked_each_time_comes_once(schedule: str, zone: str, start: datetime, minutes: list[int]):
    times, since = Times(schedule, zone), start.replace(tzinfo=UTC)
    seen: list[datetime] = []
    now = since
    for gap in minutes:
        later = now + timedelta(minutes=gap)
        seen += times.between(now, later, 1000)
        now = later

    assert seen == times.between(since, now, 1000)
