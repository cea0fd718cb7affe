"""The operator's own connections to artifact stores: one to each, for as long as it is configured in the same way."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from cairn.clients.cluster import Cluster
from cairn.clients.store import Key
from cairn.components.base import ArtifactStore, StoreClient

RETIRED_SECONDS = 60.0
"""How long requests that use a connection may go on when another one has taken its place."""


class OpenStores:
    """Opens stores when they are needed, anew when their spec or a Secret of theirs has changed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open: dict[Key, tuple[str, StoreClient]] = {}
        self._opening: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def client_of(self, store: ArtifactStore[Any]) -> StoreClient:
        """Return a way into a store that is open to the operator; raises StoreUnavailableError."""
        key, version = store.key, self._version(store)
        async with self._opening[key]:
            known = self._open.get(key)
            if known is not None and known[0] == version:
                return known[1]
            client = await store.client(self._cluster.kubernetes)
            self._open[key] = version, client
        self._retire(*([known[1]] if known is not None else []), *self._of_deleted())
        return client

    def _of_deleted(self) -> Iterator[StoreClient]:
        """Yield, and forget, the connections to stores whose component is not there any more."""
        for key in [key for key in self._open if self._cluster.components.get(key) is None]:
            self._opening.pop(key, None)
            yield self._open.pop(key)[1]

    @staticmethod
    def _retire(*clients: StoreClient) -> None:
        """Close connections once the requests that use them have ended."""
        for client in clients:
            asyncio.get_running_loop().call_later(RETIRED_SECONDS, client.close)

    def close(self) -> None:
        """Close what is open."""
        for _, client in self._open.values():
            client.close()
        self._open.clear()

    def _version(self, store: ArtifactStore[Any]) -> str:
        secrets = [self._cluster.secrets.get((store.namespace, name)) for name in sorted(store.secrets)]
        versions = [(secret or {}).get("metadata", {}).get("resourceVersion") for secret in secrets]
        return json.dumps([store.config.to_json(), versions])
