"""What the operator itself keeps in a bucket."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from cairn.clients.s3 import READ_SECONDS, Bucket, S3Error, UnreachableError, in_thread
from cairn.components.artifact_store.s3.probe import join_key
from cairn.components.base import StoreClient, StoreUnavailableError

PUT_SECONDS = 6 * READ_SECONDS
"""How long one object may take: many megabytes, over a slow line."""

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
        place = join_key(self._prefix, key)
        try:
            await in_thread(lambda: self._bucket.put(place, content, content_type), seconds=PUT_SECONDS)
        except TimeoutError as error:
            slow = UnreachableError("PutObject", f"takes longer than {PUT_SECONDS} s", "look for what slows it down")
            raise self._unavailable(slow, self._bucket.endpoint) from error
        except S3Error as error:
            raise self._unavailable(error, self._bucket.endpoint) from error

    def close(self) -> None:
        """Close the connections."""
        self._resources.close()
