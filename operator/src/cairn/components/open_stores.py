"""The operator's own connections to artifact stores: one to each, for as long as it is configured in the same way."""

from __future__ import annotations

import json
from typing import Any

from cairn.clients.cluster import Cluster
from cairn.clients.store import Key
from cairn.components.base import ArtifactStore, StoreClient


class OpenStores:
    """Opens stores when they are needed, anew when their spec or a Secret of theirs has changed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open: dict[Key, tuple[str, StoreClient]] = {}

    async def client_of(self, store: ArtifactStore[Any]) -> StoreClient:
        """Return a way into a store that is open to the operator; raises StoreUnavailableError."""
        key, version = (store.namespace, store.name), self._version(store)
        known = self._open.get(key)
        if known is not None and known[0] == version:
            return known[1]
        client = await store.client(self._cluster.kubernetes)
        self._open[key] = version, client
        if known is not None:
            known[1].close()
        return client

    def close(self) -> None:
        """Close what is open."""
        for _, client in self._open.values():
            client.close()
        self._open.clear()

    def _version(self, store: ArtifactStore[Any]) -> str:
        secrets = [self._cluster.secrets.get((store.namespace, name)) for name in sorted(store.secrets)]
        versions = [(secret or {}).get("metadata", {}).get("resourceVersion") for secret in secrets]
        return json.dumps([store.config.to_json(), versions])
