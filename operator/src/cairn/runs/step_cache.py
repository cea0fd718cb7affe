"""Asks the artifact store whether a step has run before, and whether what it wrote is still there."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.api.step import Step
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import SECRETS, NotFoundError
from cairn.clients.registry import ImageReference, Registries, RegistryError, credentials_for
from cairn.clients.store import Key, key_of
from cairn.components.base import ArtifactStore, StoreClient, StoreUnavailableError
from cairn.components.open_stores import OpenStores
from cairn.runs import naming
from cairn.runs.attempts import CAN_BE_TRIED_AGAIN
from cairn.runs.cache_key import cache_key, not_cacheable
from cairn.runs.cache_record import CacheAnswer, CacheRecord, has_expired, has_outputs_of, parsed, record_of
from cairn.runs.pod import PodContext, step_template
from cairn.step.manifest import SIZE_LIMIT, SUFFIX, Manifest, digest_of

logger = logging.getLogger(__name__)

LARGEST_RECORD = 1024 * 1024
LOOKUPS_AT_ONCE = 16
DIGEST_KEPT_SECONDS = 30.0
"""How long the answer of a registry holds: a run may have a thousand steps of one image."""
PULL_SECRET = ".dockerconfigjson"  # noqa: S105 - the name of a key


class StepCache:
    """What is known of steps that may be cached; holds only what can be asked again."""

    def __init__(self, cluster: Cluster, stores: OpenStores, registries: Registries, clock: Clock) -> None:
        self._cluster = cluster
        self._stores = stores
        self._registries = registries
        self._clock = clock
        self._at_once = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._answers: dict[Key, tuple[str, dict[str, CacheAnswer]]] = {}
        """By run, with its UID, and step."""
        self._digests: dict[tuple[str, str, tuple[str, ...]], tuple[float, str | RegistryError]] = {}
        """By namespace, image and pull Secrets: until when an answer holds, and what a registry answered."""

    def answers(self, body: JsonObject) -> Mapping[str, CacheAnswer]:
        """Return what has been answered for a run's steps."""
        uid, answers = self._answers.get(key_of(body), ("", {}))
        return answers if uid == body["metadata"]["uid"] else {}

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        self._answers.pop(key, None)

    async def look_up(self, body: JsonObject, context: PodContext, steps: Iterable[Step]) -> None:
        """Ask for steps that are about to start."""
        uid = body["metadata"]["uid"]
        known = self._answers.get(key_of(body))
        if known is None or known[0] != uid:
            known = self._answers[key_of(body)] = uid, {}

        async def ask(step: Step) -> None:
            async with self._at_once:
                known[1][step.name] = await self._answer(context, step)

        await asyncio.gather(*(ask(step) for step in steps))

    async def _answer(self, context: PodContext, step: Step) -> CacheAnswer:
        store = context.stack.artifact_store
        problem = not_cacheable(step)
        if problem is not None:
            return CacheAnswer(message=problem)
        if not store.open_to_operator:
            message = (
                f"The operator has no access to the artifact store {store.name}, only pods have; it is not cached."
            )
            return CacheAnswer(message=message)
        try:
            digest = await self._digest(context, step)
        except RegistryError as error:
            return CacheAnswer(message=f"{error}; it is not cached. Name the image by its digest."[:512])
        key = cache_key(context, step, digest)
        try:
            client = await self._stores.client_of(store)
            record = await self._record(client, store, naming.cache_key_of_store(context.run.namespace, key), step)
        except (StoreUnavailableError, *CAN_BE_TRIED_AGAIN) as error:
            return CacheAnswer(key, digest, f"The cache could not be read: {error}"[:512])
        return CacheAnswer(key, digest, record=record)

    async def _digest(self, context: PodContext, step: Step) -> str:
        """Return the digest of a step's image; raises RegistryError, with a whole sentence but its end."""
        image = ImageReference.parse(step.image)
        if image.digest is not None:
            return image.digest
        secrets = tuple(ref.name for ref in step_template(context, step).image_pull_secrets or ())
        asked = context.run.namespace, step.image, secrets
        known = self._digests.get(asked)
        if known is None or known[0] < self._clock.monotonic():
            answer: str | RegistryError
            try:
                credentials = credentials_for(image.registry, await self._configurations(asked[0], secrets))
                answer = await self._registries.digest_of(image, credentials)
            except RegistryError as error:
                answer = RegistryError(f"The digest of {step.image} is not known: {image.registry} {error}")
            known = self._clock.monotonic() + DIGEST_KEPT_SECONDS, answer
            self._digests = {one: held for one, held in self._digests.items() if held[0] >= self._clock.monotonic()} | {
                asked: known
            }
        if isinstance(known[1], RegistryError):
            raise known[1]
        return known[1]

    async def _configurations(self, namespace: str, secrets: Iterable[str]) -> list[Mapping[str, object]]:
        found: list[Mapping[str, object]] = []
        for name in secrets:
            with suppress(NotFoundError, ValueError, AttributeError):  # the pod will tell what is wrong with it
                secret = await self._cluster.kubernetes.get(SECRETS, namespace, name)
                document = json.loads(base64.b64decode((secret.get("data") or {}).get(PULL_SECRET, "")))
                found.append(dict(document))
        return found

    async def _record(
        self, client: StoreClient, store: ArtifactStore[Any], place: str, step: Step
    ) -> CacheRecord | None:
        """Return what can be used in place of a step; None where there is nothing, or not all of it any more."""
        content = await client.get(place, LARGEST_RECORD)
        record = parsed(content) if content is not None else None
        if record is None or has_expired(record, step, self._clock.now()) or not has_outputs_of(record, step):
            return None
        for artifact in record.artifacts:
            if not await _is_there(client, store, artifact, record.entity_tags.get(artifact.name)):
                logger.info(
                    "Artifact %s of the cache has been deleted or changed; step %s runs", artifact.uri, step.name
                )
                return None
        return record


async def content_of_record(client: StoreClient, store: ArtifactStore[Any], run: str, step: StepStatus) -> bytes | None:
    """Return what is to be kept of a step that has succeeded; None where an artifact is not there any more."""
    tags: dict[str, str] = {}
    for artifact in step.artifacts or ():
        key = key_in(store, artifact)
        tag = await client.entity_tag(key) or await client.entity_tag(key + SUFFIX)
        if tag is None:
            return None
        tags[artifact.name] = tag
    return record_of(run, step, tags).model_dump_json(by_alias=True, exclude_none=True).encode()


def key_in(store: ArtifactStore[Any], artifact: ArtifactStatus) -> str:
    """Return the key of an artifact below the store's prefix."""
    return artifact.uri.removeprefix(store.uri(""))


async def _is_there(client: StoreClient, store: ArtifactStore[Any], artifact: ArtifactStatus, tag: str | None) -> bool:
    """Return whether an artifact is as it was when it was recorded."""
    key = key_in(store, artifact)
    if tag is None or key == artifact.uri:
        return False
    if await client.entity_tag(key) == tag:
        return True
    if await client.entity_tag(key + SUFFIX) != tag:
        return False
    content = await client.get(key + SUFFIX, SIZE_LIMIT) or b""
    if digest_of(content) != artifact.digest:
        return False
    sizes = await client.sizes_below(key)
    return all(sizes.get(file.path) == file.size for file in Manifest.parse(content).files)
