"""A clock that a test moves."""

from __future__ import annotations

from datetime import datetime, timedelta

from cairn.api.time import parse
from cairn.clients.clock import Clock
from tests.unit.builders import NOW


class ManualClock(Clock):
    """It is NOW until the test says otherwise."""

    def __init__(self) -> None:
        self._now = parse(NOW)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def set(self, moment: datetime) -> None:
        """Have it be that moment."""
        self.advance((moment - self._now).total_seconds())

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
