"""The experiments of one tracker that runs are recorded in."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from cairn.runs.tracker_gate import TrackerGate


class TrackedExperiments:
    """Finds them by their names; of runs that begin at the same time one asks the tracker for all."""

    def __init__(self, gate: TrackerGate) -> None:
        self._gate = gate
        self._ids: dict[str, str] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def id_of(self, name: str) -> str:
        """Return the ID of an experiment, which is made if there is none; raises TrackerError."""
        async with self._asking[name]:
            if name not in self._ids:
                self._ids[name] = await self._gate.ask(lambda client: client.experiment(name))
            return self._ids[name]

    def forget(self, name: str) -> None:
        """Have an experiment be asked for again: the tracker may have it no more."""
        self._ids.pop(name, None)
