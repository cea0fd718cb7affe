"""The time. Passed in, so that tests and the simulator can have one of their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the time of day, in UTC. It may jump."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever pass, from a start of no meaning."""
        return time.monotonic()
