"""A clock that the simulation sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cairn.clients.clock import Clock

START = datetime(2026, 1, 1, tzinfo=UTC)


class SimulatedClock(Clock):
    """Seconds since the simulation's start, and a time of day that may be set."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.offset = 0.0
        """By how much the time of day is wrong."""

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds + self.offset)

    def monotonic(self) -> float:
        return self.seconds

    def true_time(self) -> datetime:
        """The time of day as the nodes have it."""
        return START + timedelta(seconds=self.seconds)
