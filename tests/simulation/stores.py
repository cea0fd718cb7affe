"""The artifact store of a simulation: it refuses something now and then, and holds what earlier runs have left."""

from __future__ import annotations

import random

from cairn.api.pipelinerun_status import CachedFrom
from cairn.api.time import timestamp
from cairn.components.base import StoreUnavailableError
from cairn.runs.cache_record import CacheRecord
from tests.simulation.api_server import SimulatedApiServer
from tests.simulation.clock import START
from tests.unit.fake_stores import FakeStore

DOWN = ("EndpointUnreachable", "The store does not answer; start it.")
OF_EARLIER_RUN = CacheRecord(
    from_=CachedFrom(run="earlier", step="same", completion_time=timestamp(START))
).model_dump_json(by_alias=True)


def ran_before(cache_key: str) -> bool:
    """Return whether an earlier run has left a record of a step: of every other one."""
    return int(cache_key[-1], 16) % 2 == 0


class UnreliableStore(FakeStore):
    """A store that is down now and then."""

    def __init__(self, dice: random.Random, server: SimulatedApiServer) -> None:
        super().__init__()
        self._dice = dice
        self._server = server

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        self._refuse_maybe()
        self._server.history.kept[key] = content

    async def get(self, key: str, limit: int) -> bytes | None:
        self._refuse_maybe()
        return OF_EARLIER_RUN.encode() if ran_before(key.removesuffix(".json")) else None

    def _refuse_maybe(self) -> None:
        if self._server.faults.active and self._dice.random() < 0.2:
            raise StoreUnavailableError(*DOWN)
