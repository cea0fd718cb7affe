"""The operator's own connections to artifact stores and trackers: one to each, for as long as it is configured in the same way."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import Kubernetes
from cairn.clients.store import Key
from cairn.components.neighbours import Neighbours

RETIRED_SECONDS = 60.0
"""How long requests that use a connection may go on when another one has taken its place."""


class Closable(Protocol):
    """What holds connections."""

    async def close(self) -> None:
        """Let go of them."""


Client = TypeVar("Client", bound=Closable)
Client_co = TypeVar("Client_co", bound=Closable, covariant=True)


class Reachable(Protocol[Client_co]):
    """A component that the operator itself uses."""

    namespace: str
    config: Any

    @property
    def key(self) -> Key:
        """Its namespace and name."""
        ...

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the Secrets that a client is made from."""
        ...

    async def client(self, kubernetes: Kubernetes) -> Client_co:
        """Return a way into it."""
        ...


class Connections(Generic[Client]):
    """Makes clients when they are needed, anew when their component's spec or a Secret of it has changed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open: dict[Key, tuple[str, Client]] = {}
        self._opening: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._retired: set[asyncio.Task[None]] = set()

    async def client_of(self, component: Reachable[Client]) -> Client:
        """Return a way into a component that is open to the operator; raises what making one raises."""
        key, version = component.key, self._version(component)
        async with self._opening[key]:
            known = self._open.get(key)
            if known is not None and known[0] == version:
                return known[1]
            client = await component.client(self._cluster.kubernetes)
            self._open[key] = version, client
        for outdated in (*([known[1]] if known is not None else []), *self._of_deleted()):
            self._retire(outdated)
        return client

    def _of_deleted(self) -> Iterator[Client]:
        """Yield, and forget, the connections to what is not there any more."""
        for key in [key for key in self._open if self._cluster.components.get(key) is None]:
            self._opening.pop(key, None)
            yield self._open.pop(key)[1]

    def _retire(self, client: Client) -> None:
        """Close connections once the requests that use them have ended."""

        async def close() -> None:
            try:
                await asyncio.sleep(RETIRED_SECONDS)
            finally:
                await client.close()

        task = asyncio.create_task(close())
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        """Close what is open."""
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        for _, client in self._open.values():
            await client.close()
        self._open.clear()

    def _version(self, component: Reachable[Client]) -> str:
        neighbours = Neighbours(self._cluster, component.namespace)
        versions = [neighbours.version_of_secret(name) for name in sorted(component.secrets)]
        return json.dumps([component.config.to_json(), versions])
