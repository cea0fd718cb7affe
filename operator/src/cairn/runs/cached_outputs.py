"""What the artifact store has of steps that may be cached: their records, and whether what these name is still there."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.api.step import Step
from cairn.components.base import ArtifactStore, StoreClient
from cairn.runs.cache_record import CacheRecord, has_expired, has_outputs_of, parsed, record_of
from cairn.step.manifest import SUFFIX

LARGEST_RECORD = 1024 * 1024
NOTHING_KEPT = (
    "It has not succeeded before with this image, command, environment, salt and these inputs, parameters and outputs."
)


async def usable_record(
    client: StoreClient, store: ArtifactStore[Any], place: str, step: Step, now: datetime
) -> CacheRecord | str:
    """Return what can be used in place of a step, or a sentence that says why there is nothing."""
    content = await client.get(place, LARGEST_RECORD)
    if content is None:
        return NOTHING_KEPT
    record = parsed(content)
    if record is None or not has_outputs_of(record, step):
        return "What is kept of it in the cache cannot be read."
    if has_expired(record, step, now):
        seconds = step.cache.expires_after_seconds if step.cache is not None else None
        return f"What it wrote in run {record.from_.run} is older than its cache's expiresAfterSeconds ({seconds})."
    for artifact in record.artifacts:
        if not await _is_there(client, store, artifact, record.entity_tags.get(artifact.name)):
            return f"Its artifact {artifact.name} of run {record.from_.run} has been deleted or changed."
    return record


async def content_of_record(
    client: StoreClient, store: ArtifactStore[Any], run: str, step: StepStatus, place: str
) -> bytes | None:
    """Return what is to be kept of a step that has succeeded; None where an artifact is not there any more.

    None also where it is kept, or what the same step has written later is.

    What is kept is not written anew: an artifact may have been overwritten since, and would be taken for the step's own.
    """
    content = await client.get(place, LARGEST_RECORD)
    kept = parsed(content) if content is not None else None
    if step.completion_time is None or (kept is not None and kept.stands_against(run, step)):
        return None
    tags: dict[str, str] = {}
    for artifact in step.artifacts or ():
        tag = await _tag_of(client, _key_in(store, artifact))
        if tag is None:
            return None
        tags[artifact.name] = tag
    return record_of(run, step, tags).model_dump_json(by_alias=True, exclude_none=True).encode()


def _key_in(store: ArtifactStore[Any], artifact: ArtifactStatus) -> str:
    """Return the key of an artifact below the store's prefix."""
    return artifact.uri.removeprefix(store.uri(""))


async def _is_there(client: StoreClient, store: ArtifactStore[Any], artifact: ArtifactStatus, tag: str | None) -> bool:
    """Return whether an artifact is as it was when it was recorded."""
    key = _key_in(store, artifact)
    return tag is not None and key != artifact.uri and await _tag_of(client, key) == tag


async def _tag_of(client: StoreClient, key: str) -> str | None:
    """Return what any change of an artifact changes: a file's tag, or one of the tags of a directory's manifest and files."""
    tag = await client.entity_tag(key)
    if tag is not None:
        return tag
    manifest = await client.entity_tag(key + SUFFIX)
    if manifest is None:
        return None
    digest = hashlib.sha256(manifest.encode())
    for path, of_file in sorted((await client.entity_tags_below(key)).items()):
        digest.update(f"{path}\0{of_file}\0".encode())
    return digest.hexdigest()
