"""Pauses after failures, ever longer, so that what does not answer is not asked without end."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from cairn.clients.clock import Clock

SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
FORGOTTEN_AFTER_SECONDS = 60.0
"""How long after its pause nothing is known any more of what has failed."""


@dataclass
class _Pause:
    failures: int
    """In a row; those at the same time count once."""
    until: float


class Pauses:
    """What has failed last, such as a store or a node, and until when it is left alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: dict[Hashable, _Pause] = {}

    def failed(self, what: Hashable) -> None:
        """Begin a pause, twice as long as the last one, unless one is on."""
        now = self._clock.monotonic()
        known = self._pauses.get(what)
        if known is not None and now < known.until:
            return
        failures = known.failures + 1 if known is not None else 1
        seconds = min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2 ** min(failures - 1, 16))
        self._pauses = {
            one: pause for one, pause in self._pauses.items() if now < pause.until + FORGOTTEN_AFTER_SECONDS
        }
        self._pauses[what] = _Pause(failures, now + seconds)

    def answered(self, what: Hashable) -> None:
        """Forget that it has failed."""
        self._pauses.pop(what, None)

    def is_failing(self, what: Hashable) -> bool:
        """Return whether it has not answered since it failed."""
        return what in self._pauses

    def seconds_left(self, what: Hashable) -> float:
        """Return for how long it is still left alone; 0 where it is not."""
        known = self._pauses.get(what)
        return max(0.0, known.until - self._clock.monotonic()) if known is not None else 0.0
