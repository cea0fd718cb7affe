"""What a check does with a bucket: find it, and write, list, read and delete an object in it. Blocks."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from cairn.clients.s3 import Bucket, RefusedError, S3Error

REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
SILENT = REFUSALS | {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}
"""Answers to HeadBucket that settle nothing, having no body: the write, which may be allowed all the same, says why."""

_PROCESS = secrets.token_hex(4)


@dataclass(frozen=True)
class Outcome:
    """What a check met with."""

    seen: bool = False
    """Whether the bucket itself, apart from objects in it, answered."""
    created: bool = False
    matched: bool = True
    """Whether the probe came back as it was written."""
    error: S3Error | None = None
    """What ended the check early."""


def probe(bucket: Bucket, key: str, *, create: bool) -> Outcome:
    """Find or create the bucket, then write, list, read, compare and delete an object. Blocks, raises nothing."""
    seen, created = True, False
    content = secrets.token_bytes(32)
    try:
        try:
            bucket.head()
        except RefusedError as error:
            if error.status not in SILENT:
                raise
            if error.status == HTTPStatus.NOT_FOUND and create:
                created = _create(bucket)
            else:
                seen = False
        version = bucket.put(key, content)
        try:
            bucket.list_keys(key)
            found = bucket.get(key, limit=len(content) + 1)
        finally:
            refusal = _delete(bucket, key, version)
        return Outcome(seen=seen, created=created, matched=found == content, error=refusal)
    except S3Error as error:
        return Outcome(seen=seen, created=created, error=error)


def look(bucket: Bucket) -> Outcome:
    """Ask for the bucket without credentials: one that exists is refused, another not found. Blocks, raises nothing."""
    try:
        bucket.head()
    except RefusedError as error:
        if error.status in REFUSALS and error.region in {None, bucket.region}:
            return Outcome()
        return Outcome(error=error)
    except S3Error as error:
        return Outcome(error=error)
    return Outcome(seen=True)


def probe_key(prefix: str, namespace: str, name: str) -> str:
    """Return the probe's key: one for a component and process, so that what cannot be deleted does not pile up."""
    component = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:8]
    return join_key(prefix, f".cairn-probe-{component}-{_PROCESS}")


def join_key(prefix: str, key: str) -> str:
    """Return a key below a prefix, which may be empty."""
    return f"{prefix}/{key}" if prefix else key


def _create(bucket: Bucket) -> bool:
    """Create the bucket; return False where somebody else did so in the meantime."""
    try:
        bucket.create()
    except RefusedError as error:
        if error.code == "BucketAlreadyOwnedByYou":
            return False
        raise
    return True


def _delete(bucket: Bucket, key: str, version: str | None) -> S3Error | None:
    """Delete the object, for good where the bucket keeps versions and that is allowed; return what prevented it."""
    try:
        try:
            bucket.delete(key, version)
        except RefusedError:
            if version is None:
                raise
            bucket.delete(key)
    except S3Error as error:
        return error
    return None
