"""Time: how long the parts of KFP take, and who calls when it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from .state import utc_now


@dataclass(frozen=True)
class Timing:
    """Seconds; by default what was recorded of a real backend."""

    requeue: float = 10
    """Between two looks that Argo takes at a workflow."""
    driver: float = 3
    """A driver's pod."""
    report: float = 1
    """From such a look until the persistence agent has reported it."""
    tasks: float = 0.25
    """From the report of a run until its tasks are reported too."""
    pickup: float = 0
    """Until the workflow controller first sees a workflow."""

    @classmethod
    def scaled(cls, requeue: float) -> Timing:
        """Return the recorded proportions at another pace."""
        pace = requeue / cls.requeue
        return cls(requeue=requeue, driver=cls.driver * pace, report=cls.report * pace, tasks=cls.tasks * pace)


class Clock(Protocol):
    """Tells the time, and calls when it has come."""

    def now(self) -> datetime:
        """Return the time."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call something after so many seconds."""
        ...


class WallClock:
    """The real time, on the running event loop."""

    def now(self) -> datetime:
        """Return the time."""
        return utc_now()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call something after so many seconds."""
        asyncio.get_running_loop().call_later(seconds, callback)


class VirtualClock:
    """A time that passes when it is told to."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._calls: list[tuple[datetime, int, Callable[[], None]]] = []
        self._number = 0

    def now(self) -> datetime:
        """Return the time."""
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call something after so many seconds."""
        self._number += 1
        self._calls.append((self._now + timedelta(seconds=seconds), self._number, callback))

    def due_by(self, timestamp: float) -> bool:
        """Whether something is due by then."""
        return any(call[0].timestamp() <= timestamp for call in self._calls)

    def step(self) -> bool:
        """Go to the next thing that is due and do it; false if there is none."""
        if not self._calls:
            return False
        due = min(self._calls, key=lambda call: call[:2])
        self._calls.remove(due)
        self._now = max(self._now, due[0])
        due[2]()
        return True

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that is due meanwhile."""
        until = self._now + timedelta(seconds=seconds)
        while any(call[0] <= until for call in self._calls):
            self.step()
        self._now = until
