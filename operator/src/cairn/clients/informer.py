"""A watch that keeps an ObjectStore true, also over what it missed.

kopf does not tell of objects that vanish while its watch is broken, and Cairn must know that a Job or pod is gone. So children
are watched here: list, watch from there, and on a gap list again and compare. See docs/decisions/0002.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable

from cairn.api.base import JsonObject
from cairn.clients.jitter import jittered
from cairn.clients.kubernetes import (
    CAN_BE_TRIED_AGAIN,
    JSON,
    METADATA_LIST_ONLY,
    METADATA_ONLY,
    GoneError,
    Kubernetes,
    Resource,
)
from cairn.clients.store import Key, ObjectStore, as_number, key_of

logger = logging.getLogger(__name__)

OnChange = Callable[[JsonObject], None]

LONGEST_BACKOFF_SECONDS = 10.0
SHORTEST_WATCH_SECONDS = 1.0


class Informer:
    """Watches one kind of object, in one namespace or in all."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        resource: Resource,
        namespace: str | None,
        store: ObjectStore,
        on_change: OnChange,
        *,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
        needed: Callable[[JsonObject], JsonObject] = lambda body: body,
    ) -> None:
        """Watch; `needed` returns what of an object is to be kept."""
        self._kubernetes = kubernetes
        self._resource = resource
        self._namespace = namespace
        self._store = store
        self._on_change = on_change
        self._selector = selector
        self._fields = fields
        self._metadata_only = metadata_only
        self._needed = needed
        self.synced = asyncio.Event()
        """Set once the first list is in the store."""

    async def run(self) -> None:
        """Watch until cancelled. Errors of the API server lead to another try, ever less often."""
        backoff = 0.0
        since: str | None = None
        while True:
            try:
                if since is None:
                    since = await self._list()
                    self.synced.set()
                began = time.monotonic()
                async for version in self._watch(since):
                    since, backoff = version, 0.0
                if time.monotonic() - began < SHORTEST_WATCH_SECONDS:
                    await asyncio.sleep(SHORTEST_WATCH_SECONDS)  # a proxy that ends every watch at once
            except GoneError:
                since = None
                await asyncio.sleep(random.uniform(0, SHORTEST_WATCH_SECONDS))  # noqa: S311 - jitter
            except (*CAN_BE_TRIED_AGAIN, ValueError) as error:
                backoff = min(LONGEST_BACKOFF_SECONDS, backoff * 2 or 0.25)
                logger.warning("The watch of %s broke, next try in %.1f s: %s", self._resource.plural, backoff, error)
                await asyncio.sleep(jittered(backoff))

    async def _list(self) -> str:
        """See everything, and forget what is gone; what was put into the store since the list was made is kept."""
        accept = METADATA_LIST_ONLY if self._metadata_only else JSON
        items, version = await self._kubernetes.list(
            self._resource, self._namespace, selector=self._selector, fields=self._fields, accept=accept
        )
        listed: set[Key] = set()
        for body in items:
            listed.add(key_of(body))
            self._keep(body)
        for body in self._store:
            mine = self._namespace is None or body["metadata"]["namespace"] == self._namespace
            made_since = as_number(body["metadata"].get("resourceVersion")) > as_number(version)
            if mine and key_of(body) not in listed and not made_since:
                self._forget(body)
        return version

    async def _watch(self, since: str) -> AsyncIterator[str]:
        accept = METADATA_ONLY if self._metadata_only else JSON
        events = self._kubernetes.watch(
            self._resource,
            self._namespace,
            since=since,
            selector=self._selector,
            fields=self._fields,
            accept=accept,
        )
        async for type_, body in events:
            if type_ == "DELETED":
                self._forget(body)
            elif type_ != "BOOKMARK":
                self._keep(body)
            yield body["metadata"]["resourceVersion"]

    def _keep(self, body: JsonObject) -> None:
        if self._metadata_only:
            # the annotation of a client-side apply holds a whole Secret
            kept = ("namespace", "name", "uid", "resourceVersion")
            body = {"metadata": {key: body["metadata"][key] for key in kept if key in body["metadata"]}}
        body["metadata"].pop("managedFields", None)
        if self._store.put(self._needed(body)):
            self._on_change(body)

    def _forget(self, body: JsonObject) -> None:
        self._store.forget(body)
        self._on_change(body)
