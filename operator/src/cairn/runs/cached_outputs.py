"""What the artifact store has of steps that may be cached: their records, and whether what these name is still there."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime
from typing import Any

from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.api.step import Step
from cairn.components.base import ArtifactStore, StoreClient
from cairn.runs.cache_record import CacheRecord, has_expired, has_outputs_of, parsed, record_of
from cairn.step.manifest import SUFFIX

logger = logging.getLogger(__name__)

LARGEST_RECORD = 1024 * 1024


async def usable_record(
    client: StoreClient, store: ArtifactStore[Any], place: str, step: Step, now: datetime
) -> CacheRecord | None:
    """Return what can be used in place of a step; None where there is nothing, or not all of it any more."""
    content = await client.get(place, LARGEST_RECORD)
    record = parsed(content) if content is not None else None
    if record is None or has_expired(record, step, now) or not has_outputs_of(record, step):
        return None
    for artifact in record.artifacts:
        if not await _is_there(client, store, artifact, record.entity_tags.get(artifact.name)):
            logger.info("Artifact %s of the cache has been deleted or changed; step %s runs", artifact.uri, step.name)
            return None
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
