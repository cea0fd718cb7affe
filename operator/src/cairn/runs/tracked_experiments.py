"""The experiments of one tracker that runs are recorded in."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from cairn.runs.tracker_gate import TrackerGate

KNOWN_SECONDS = 300.0
"""How long a name stands for the same experiment: somebody may rename it, or restore another database."""


class TrackedExperiments:
    """Finds them by their names; of runs that begin at the same time one asks the tracker for all."""

    def __init__(self, gate: TrackerGate) -> None:
        self._gate = gate
        self._ids: dict[str, tuple[str, float]] = {}
        """By name, and until when they are known."""
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def id_of(self, name: str) -> str:
        """Return the ID of an experiment, which is made if there is none; raises TrackerError."""
        async with self._asking[name]:
            known, until = self._ids.get(name, ("", 0.0))
            if _now() < until:
                return known
            found = await self._gate.ask(lambda client: client.experiment(name))
            self._ids[name] = found, _now() + KNOWN_SECONDS
            return found

    def forget(self, name: str) -> None:
        """Have an experiment be asked for again: the tracker may have it no more."""
        self._ids.pop(name, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
