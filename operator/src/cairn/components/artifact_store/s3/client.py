"""What the operator itself keeps in a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import TypeVar

from cairn.clients.s3 import READ_SECONDS, Bucket, RefusedError, S3Error, UnreachableError, in_thread
from cairn.components.artifact_store.s3.probe import join_key
from cairn.components.base import Digest, StoreClient, StoreUnavailableError

LONGEST_SECONDS = 6 * READ_SECONDS
"""How long one object may take: many megabytes, over a slow line."""

DIGEST_SECONDS = 3600
"""How long it may take to read an object, which may be any model."""

NO_BUCKET = "NoSuchBucket"

Result = TypeVar("Result")
Unavailable = Callable[[S3Error, str | None], StoreUnavailableError]
"""Returns what an error at an endpoint means, with what to do."""


class S3Client(StoreClient):
    """A bucket, with one connection pool for as long as it is used."""

    def __init__(self, bucket: Bucket, prefix: str, unavailable: Unavailable) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._unavailable = unavailable
        self._resources = ExitStack()
        try:
            self._resources.enter_context(bucket)
        except S3Error as error:
            raise unavailable(error, bucket.endpoint) from error

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Keep content under a key, in place of what is there."""
        await self._ask(lambda: self._bucket.put(self._place(key), content, content_type))

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return what is kept under a key, the first `limit` bytes of it; None where nothing is."""
        return await self._ask(lambda: _unless_missing(lambda: self._bucket.get(self._place(key), limit)))

    async def digest(self, key: str) -> Digest | None:
        """Return the digest of the object under a key; None where there is none."""
        return await self._ask(lambda: _unless_missing(lambda: self._digest(self._place(key))), seconds=DIGEST_SECONDS)

    def _digest(self, place: str) -> Digest:
        found, size = hashlib.sha256(), 0
        for chunk in self._bucket.chunks(place):
            found.update(chunk)
            size += len(chunk)
        return Digest(found.hexdigest(), size)

    async def entity_tag(self, key: str) -> str | None:
        """Return the tag of the object under a key; None where there is none."""
        return await self._ask(lambda: _unless_missing(lambda: self._bucket.entity_tag(self._place(key)))) or None

    async def entity_tags_below(self, key: str) -> Mapping[str, str]:
        """Return the tags of the objects below a key, by the rest of their keys."""
        prefix = f"{self._place(key)}/"
        tags = await self._ask(lambda: dict(self._bucket.entity_tags(prefix)))
        return {found.removeprefix(prefix): tag for found, tag in tags.items()}

    async def _ask(self, work: Callable[[], Result], *, seconds: float = LONGEST_SECONDS) -> Result:
        try:
            return await in_thread(work, seconds=seconds)
        except TimeoutError as error:
            operation = self._bucket.operation
            slow = UnreachableError(operation, f"takes longer than {seconds:g} s", "look for what slows it down")
            raise self._unavailable(slow, self._bucket.endpoint) from error
        except S3Error as error:
            raise self._unavailable(error, self._bucket.endpoint) from error

    def _place(self, key: str) -> str:
        return join_key(self._prefix, key)

    async def close(self) -> None:
        """Close the connections."""
        self._resources.close()


def _unless_missing(work: Callable[[], Result]) -> Result | None:
    """Return what a request answers; None where there is no such object."""
    try:
        return work()
    except RefusedError as error:
        if error.status == HTTPStatus.NOT_FOUND and error.code != NO_BUCKET:
            return None
        raise
