"""Makes and deletes many objects, some at a time, as a client with several connections does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import aiohttp

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import AlreadyExistsError, Kubernetes, Resource

Item = TypeVar("Item")

AT_A_TIME = 20
TRIES = 5
GONE_SECONDS = 1800.0
"""How long it may take until all are gone: thousands of Jobs take the garbage collector minutes."""


async def create_all(
    kubernetes: Kubernetes, resource: Resource, namespace: str, manifests: Iterable[JsonObject]
) -> None:
    """Create objects as fast as the API server lets them in."""

    async def create(manifest: JsonObject) -> None:
        with suppress(AlreadyExistsError):  # by the try before, whose answer got lost
            await kubernetes.create(resource, namespace, manifest)

    await for_all(manifests, create)


async def delete_all(kubernetes: Kubernetes, resource: Resource, namespace: str) -> None:
    """Delete all objects of a kind, and wait until they are gone.

    One by one: the API server would need longer for the collection than a client waits.
    """

    async def delete(body: JsonObject) -> None:
        await kubernetes.delete(resource, namespace, body["metadata"]["name"], uid=body["metadata"]["uid"])

    async with asyncio.timeout(GONE_SECONDS):
        while left := (await kubernetes.list(resource, namespace))[0]:
            await for_all((body for body in left if not body["metadata"].get("deletionTimestamp")), delete)
            await asyncio.sleep(0.5)


async def for_all(items: Iterable[Item], act: Callable[[Item], Awaitable[object]]) -> None:
    """Do something with each item, again where an overloaded API server does not answer."""
    rest = iter(items)

    async def worker() -> None:
        for item in rest:
            for tried in range(TRIES):
                try:
                    await act(item)
                    break
                except (aiohttp.ClientError, TimeoutError):
                    if tried == TRIES - 1:
                        raise

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_A_TIME):
            workers.create_task(worker())
