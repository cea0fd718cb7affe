"""A pause of a run, so that what the API server refuses is not asked for without end."""

from __future__ import annotations

from collections.abc import Mapping

from cairn.clients.clock import Clock
from cairn.runs.step_plan import Refusal

RETRY_REFUSED_SECONDS = 10.0


class Hold:
    """A pause after the API server refused something.

    What it says may differ each time; told in the status, it would wake the run, which would ask again, without end.
    """

    def __init__(self, clock: Clock, refusals: Mapping[str, Refusal] | None = None) -> None:
        """Begin a pause; `refusals` are the steps whose attempt was refused, with the reasons."""
        self.refusals = refusals or {}
        self._clock = clock
        self._until = clock.monotonic() + RETRY_REFUSED_SECONDS

    @property
    def seconds_left(self) -> float:
        """How much longer nothing is asked for."""
        return self._until - self._clock.monotonic()
