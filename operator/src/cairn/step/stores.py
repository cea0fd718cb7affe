"""Where artifacts are kept: a bucket or a directory, behind the few operations that artifacts need."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from cairn.step.errors import INPUT_INVALID, STORE_UNREACHABLE, ObjectMissingError, PlanError, StepError
from cairn.step.plan import LocalSettings, S3Settings, StoreSettings
from cairn.step.store_errors import translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, MutableMapping, Sequence

    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

RETRY_SECONDS_ENV: Final = "CAIRN_TRANSFER_RETRY_SECONDS"
RETRY_SECONDS: Final = 120  # enough to live through the restart of a server
RETRIES: Final = 30  # the seconds are what bounds them
READ_CHUNK: Final = 1024 * 1024
CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Object:
    """An object that the store lists."""

    key: str
    size: int


class Store:
    """One bucket or directory. Errors are ObjectMissingError and StepError, whatever the kind of store."""

    def __init__(self, client: ObjectStore, description: str) -> None:
        self.client = client
        self.description = description

    async def put(self, key: str, data: bytes) -> None:
        """Write an object that fits in memory, in one request."""
        with self._errors(key):
            await obstore.put_async(self.client, key, data, use_multipart=False)

    async def put_parts(self, key: str, parts: AsyncIterator[bytes], *, part_size: int, at_once: int) -> None:
        """Write an object in parts of `part_size`. It appears when all are there; an error aborts it."""
        with self._errors(key):
            await obstore.put_async(
                self.client, key, parts, use_multipart=True, chunk_size=part_size, max_concurrency=at_once
            )

    async def get(self, key: str) -> AsyncIterator[memoryview]:
        """Read an object in chunks."""
        with self._errors(key):
            stream = (await obstore.get_async(self.client, key)).stream(min_chunk_size=READ_CHUNK)
        chunks = aiter(stream)
        while True:
            with self._errors(key):
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            yield memoryview(chunk)

    async def exists(self, key: str) -> bool:
        """Whether there is an object at exactly this key."""
        try:
            with self._errors(key):
                await obstore.head_async(self.client, key)
        except ObjectMissingError:
            return False
        return True

    async def list(self, prefix: str) -> AsyncIterator[Object]:
        """List the objects whose keys begin with `<prefix>/`."""
        batches = aiter(obstore.list(self.client, prefix))
        while True:
            with self._errors(prefix):
                try:
                    batch = await anext(batches)
                except StopAsyncIteration:
                    return
            for item in batch:
                yield Object(item["path"], item["size"])

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""
        try:
            with self._errors(", ".join(keys[:1])):
                await obstore.delete_async(self.client, keys)
        except ObjectMissingError:
            if len(keys) > 1:
                for key in keys:
                    await self.delete([key])

    @contextmanager
    def _errors(self, key: str) -> Generator[None]:
        try:
            yield
        except ValueError as error:
            raise StepError(
                INPUT_INVALID,
                f"{self.description}: the key {key!r} cannot be used: {error}; choose another name.",
            ) from error
        except (BaseError, OSError) as error:
            raise translate(error, self.description) from error


class Stores:
    """Finds the store and the key of a URI. A user's URI may lead to another bucket of the same server."""

    def __init__(self, settings: StoreSettings, environment: MutableMapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._environment = environment
        self._open: dict[str, Store] = {}

    def locate(self, uri: str) -> tuple[Store, str]:
        """Return the store and the key. A key that ends with a slash keeps it.

        Raises:
            StepError: The URI is not one of this store, or the store cannot be opened.
        """
        scheme, separator, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        expected = "s3" if isinstance(self._settings, S3Settings) else "pvc"
        if not separator or scheme != expected or not bucket or not key.strip("/"):
            raise StepError(INPUT_INVALID, f"{uri} is no URI of this artifact store; use {expected}://<name>/<key>.")
        if bucket not in self._open:
            self._open[bucket] = self._store(bucket)
        return self._open[bucket], key

    def _store(self, bucket: str) -> Store:
        if isinstance(self._settings, S3Settings):
            return _s3(self._settings, bucket, self._environment)
        return _local(self._settings, bucket)


def _local(settings: LocalSettings, claim: str) -> Store:
    description = f"Artifact store on volume claim {settings.claim}"
    if claim != settings.claim:
        raise StepError(INPUT_INVALID, f"{description} does not hold pvc://{claim}; use an artifact of this store.")
    if not settings.root.is_dir():
        raise StepError(STORE_UNREACHABLE, f"{description} is not mounted at {settings.root}; check the claim.")
    return Store(LocalStore(settings.root, automatic_cleanup=True), description)


def _s3(settings: S3Settings, bucket: str, environment: MutableMapping[str, str]) -> Store:
    place = settings.endpoint or f"AWS, region {settings.region}"
    for name in CREDENTIALS:  # an optional key of a Secret may be there and empty
        if name in environment and not environment[name].strip():
            del environment[name]
    try:
        client = S3Store(
            bucket,
            config=_s3_config(settings, bucket),
            client_options=_client_options(settings),
            retry_config=_retries(environment),
        )
    except (BaseError, ValueError) as error:
        raise translate(error, f"Artifact store {bucket} ({place})") from error
    return Store(client, f"Artifact store {bucket} ({place})")


def _s3_config(settings: S3Settings, bucket: str) -> S3Config:
    virtual = settings.addressing_style == "Virtual" or (settings.addressing_style == "Auto" and not settings.endpoint)
    config: S3Config = {
        "region": settings.region,
        "virtual_hosted_style_request": virtual,
        "disable_bulk_delete": True,  # not every S3 server has it, and little is deleted
    }
    if settings.endpoint:
        endpoint = settings.endpoint.rstrip("/")
        if virtual:  # obstore expects the bucket to be part of it then
            parts = urlsplit(endpoint)
            endpoint = f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"
        config["endpoint"] = endpoint
        config["aws_endpoint_url_s3"] = endpoint  # else the environment's would win
    return config


def _client_options(settings: S3Settings) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": bool(settings.endpoint and settings.endpoint.startswith("http://")),
        "connect_timeout": timedelta(seconds=5),
        # A limit on silence, not on the transfer; a server may need it to assemble an object.
        "read_timeout": timedelta(seconds=300),
        "timeout": timedelta(days=7),
    }
    if settings.ca_file:
        try:
            options["root_certificate"] = settings.ca_file.read_bytes()
        except OSError as error:
            raise StepError(
                STORE_UNREACHABLE,
                f"The artifact store's CA file {settings.ca_file} cannot be read: {error.strerror}; "
                "check its Secret or ConfigMap.",
            ) from error
    return options


def _retries(environment: MutableMapping[str, str]) -> RetryConfig:
    text = environment.get(RETRY_SECONDS_ENV) or str(RETRY_SECONDS)
    try:
        seconds = max(0, int(text))
    except ValueError:
        raise PlanError(f"{RETRY_SECONDS_ENV} is not a whole number of seconds: {text}.") from None
    return {
        "max_retries": RETRIES if seconds else 0,
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=1),
            "max_backoff": timedelta(seconds=10),
            "base": 3,
        },
    }
