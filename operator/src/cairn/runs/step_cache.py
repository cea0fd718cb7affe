"""Asks the artifact store whether a step has run before, and whether what it wrote is still there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
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
from cairn.step.manifest import SUFFIX

logger = logging.getLogger(__name__)

LONGEST_MESSAGE = 256
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
        self._answers: dict[Key, tuple[str, dict[str, CacheAnswer]]] = {}
        """By run, with its UID, and step."""
        self._digests: dict[tuple[str, str, tuple[str, ...]], tuple[float, asyncio.Future[str | RegistryError]]] = {}
        """By namespace, image and pull Secrets: until when an answer holds, and what a registry answered."""

    def answers(self, body: JsonObject) -> Mapping[str, CacheAnswer]:
        """Return what has been answered for a run's steps."""
        uid, answers = self._answers.get(key_of(body), ("", {}))
        return answers if uid == body["metadata"]["uid"] else {}

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        self._answers.pop(key, None)

    async def look_up(self, body: JsonObject, context: PodContext, steps: Iterable[Step]) -> None:
        """Ask for steps that are about to start. When the store does not answer for one, it is not asked for the others."""
        uid = body["metadata"]["uid"]
        known = self._answers.get(key_of(body))
        if known is None or known[0] != uid:
            known = self._answers[key_of(body)] = uid, {}
        at_once, unavailable = asyncio.Semaphore(LOOKUPS_AT_ONCE), set[str]()

        async def ask(step: Step) -> None:
            async with at_once:
                known[1][step.name] = await self._answer(context, step, unavailable)

        await asyncio.gather(*(ask(step) for step in steps))

    async def _answer(self, context: PodContext, step: Step, unavailable: set[str]) -> CacheAnswer:
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
            return CacheAnswer(message=f"{error}; it is not cached. Name the image by its digest."[:LONGEST_MESSAGE])
        key = cache_key(context, step, digest)
        if unavailable:
            return CacheAnswer(key, digest, f"The cache could not be read: {next(iter(unavailable))}"[:LONGEST_MESSAGE])
        try:
            client = await self._stores.client_of(store)
            record = await self._record(client, store, naming.cache_key_of_store(context.run.namespace, key), step)
        except (StoreUnavailableError, *CAN_BE_TRIED_AGAIN) as error:
            unavailable.add(str(error))
            return CacheAnswer(key, digest, f"The cache could not be read: {error}"[:LONGEST_MESSAGE])
        return CacheAnswer(key, digest, record=record)

    async def _digest(self, context: PodContext, step: Step) -> str:
        """Return the digest of a step's image; raises RegistryError, with a whole sentence but its end."""
        try:
            image = ImageReference.parse(step.image)
        except RegistryError as error:
            raise RegistryError(f"{step.image[:128]} {error}") from error
        if image.digest is not None:
            return image.digest
        secrets = tuple(ref.name for ref in step_template(context, step).image_pull_secrets or ())
        asked = context.run.namespace, step.image, secrets
        now = self._clock.monotonic()
        if asked not in self._digests or self._digests[asked][0] < now:
            question = asyncio.ensure_future(self._ask(context.run.namespace, image, secrets))
            self._digests = {one: held for one, held in self._digests.items() if held[0] >= now}
            self._digests[asked] = now + DIGEST_KEPT_SECONDS, question
        answer = await asyncio.shield(self._digests[asked][1])
        if isinstance(answer, RegistryError):
            raise RegistryError(f"The digest of {step.image[:128]} is not known: {image.registry} {answer}")
        return answer

    async def _ask(self, namespace: str, image: ImageReference, secrets: Iterable[str]) -> str | RegistryError:
        try:
            credentials = credentials_for(image.registry, await self._configurations(namespace, secrets))
            return await self._registries.digest_of(image, credentials)
        except RegistryError as error:
            return error
        except CAN_BE_TRIED_AGAIN as error:
            return RegistryError(f"cannot be asked: the Secrets to pull images could not be read ({error})")

    async def _configurations(self, namespace: str, secrets: Iterable[str]) -> list[Mapping[str, object]]:
        found: list[Mapping[str, object]] = []
        for name in secrets:
            with suppress(
                NotFoundError, ValueError, AttributeError, RecursionError
            ):  # the pod will tell what is wrong with it
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


async def content_of_record(
    client: StoreClient, store: ArtifactStore[Any], run: str, step: StepStatus, place: str
) -> bytes | None:
    """Return what is to be kept of a step that has succeeded; None where it is kept, or an artifact is not there any more.

    What is kept is not written anew: an artifact may have been overwritten since, and would be taken for the step's own.
    """
    content = await client.get(place, LARGEST_RECORD)
    kept = parsed(content) if content is not None else None
    tags: dict[str, str] = {}
    for artifact in step.artifacts or ():
        tag = await _tag_of(client, key_in(store, artifact))
        if tag is None:
            return None
        tags[artifact.name] = tag
    record = record_of(run, step, tags)
    if kept is not None and kept.from_ == record.from_:
        return None
    return record.model_dump_json(by_alias=True, exclude_none=True).encode()


def key_in(store: ArtifactStore[Any], artifact: ArtifactStatus) -> str:
    """Return the key of an artifact below the store's prefix."""
    return artifact.uri.removeprefix(store.uri(""))


async def _is_there(client: StoreClient, store: ArtifactStore[Any], artifact: ArtifactStatus, tag: str | None) -> bool:
    """Return whether an artifact is as it was when it was recorded."""
    key = key_in(store, artifact)
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
