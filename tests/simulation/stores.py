"""The artifact store that logs are kept in: it refuses some for as long as things go wrong."""

from __future__ import annotations

import random

from cairn.clients.cluster import Cluster
from cairn.components.base import StoreUnavailableError
from tests.simulation.api_server import SimulatedApiServer
from tests.unit.fake_stores import FakeStores

DOWN = StoreUnavailableError("EndpointUnreachable", "The store does not answer; start it.")


class UnreliableStores(FakeStores):
    """A store that is down now and then."""

    def __init__(self, cluster: Cluster, dice: random.Random, server: SimulatedApiServer) -> None:
        super().__init__(cluster)
        self._dice = dice
        self._server = server

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        if self._server.faults.active and self._dice.random() < 0.2:
            raise DOWN
        self._server.history.logs.add(key)
