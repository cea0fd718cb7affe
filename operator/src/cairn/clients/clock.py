"""The time. Passed in, so that tests and the simulator can have one of their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime

LONGEST_WAIT_SECONDS = 300.0


class Clock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the time of day, in UTC. It may jump."""
        return datetime.now(UTC)

    def seconds_until(self, moment: datetime) -> float:
        """Return how long to wait until a time of day, or until to look again: the clock may be set meanwhile."""
        return min(LONGEST_WAIT_SECONDS, max(0.0, (moment - self.now()).total_seconds()))

    def monotonic(self) -> float:
        """Return seconds that only ever pass, from a start of no meaning."""
        return time.monotonic()
