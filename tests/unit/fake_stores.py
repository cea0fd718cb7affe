"""An artifact store in memory, as the operator itself reaches it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

from cairn.clients.cluster import Cluster
from cairn.components.base import Digest, StoreClient, StoreUnavailableError
from cairn.components.connections import Connections, Reachable


class FakeStore(StoreClient):
    """A store that can be out of order."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        """The keys that were read."""
        self.refusal: StoreUnavailableError | None = None
        """What is wrong with the store, if anything is."""
        self.answers = asyncio.Event()
        """Cleared while the store keeps everybody waiting."""
        self.answers.set()

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        await self._answer()
        self.objects[key] = content

    async def get(self, key: str, limit: int) -> bytes | None:
        self.asked.append(key)
        await self._answer()
        return self.objects.get(key)

    async def digest(self, key: str) -> Digest | None:
        await self._answer()
        content = self.objects.get(key)
        return Digest(hashlib.sha256(content).hexdigest(), len(content)) if content is not None else None

    async def entity_tag(self, key: str) -> str | None:
        await self._answer()
        return hashlib.sha256(self.objects[key]).hexdigest() if key in self.objects else None

    async def entity_tags_below(self, key: str) -> Mapping[str, str]:
        await self._answer()
        below = f"{key}/"
        return {
            one.removeprefix(below): hashlib.sha256(content).hexdigest()
            for one, content in self.objects.items()
            if one.startswith(below)
        }

    async def close(self) -> None:
        """Nothing is open."""

    async def _answer(self) -> None:
        await self.answers.wait()
        if self.refusal is not None:
            raise self.refusal


class OneStoreForAll(Connections[StoreClient]):
    """Opens the same store whatever a component says."""

    def __init__(self, cluster: Cluster, store: StoreClient) -> None:
        super().__init__(cluster)
        self._store = store

    async def client_of(self, component: Reachable[StoreClient]) -> StoreClient:
        return self._store
