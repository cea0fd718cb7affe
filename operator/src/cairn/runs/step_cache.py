"""Asks the artifact store whether a step has run before, and whether what it wrote is still there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.api.step import Step
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import SECRETS, NotFoundError
from cairn.clients.registry import ImageReference, Registries, RegistryError, credentials_for
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
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
ANSWERS_AWAITED_SECONDS = 0.5
"""How long a reconcile waits for answers, which take some milliseconds; later ones wake the run."""
DIGEST_KEPT_SECONDS = 30.0
"""How long the answer of a registry holds: a run may have a thousand steps of one image."""
PULL_SECRET = ".dockerconfigjson"  # noqa: S105 - the name of a key


CHANGED = "What it depends on has changed since the cache was asked for it; it is not kept in the cache."


@dataclass
class _Asked:
    """What the cache has been asked for of a run."""

    uid: str
    answers: dict[str, CacheAnswer] = field(default_factory=dict[str, CacheAnswer])
    """By step."""
    under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])
    """By step, what asks for it, maybe with others."""


class StepCache:
    """What is known of steps that may be cached; holds only what can be asked again."""

    def __init__(self, cluster: Cluster, stores: OpenStores, registries: Registries, clock: Clock, wake: Wake) -> None:
        """Make a cache; `wake` has a run reconciled when something is answered late."""
        self._cluster = cluster
        self._stores = stores
        self._registries = registries
        self._clock = clock
        self._wake = wake
        self._asked: dict[Key, _Asked] = {}
        self._digests: dict[tuple[str, str, tuple[str, ...]], tuple[float, asyncio.Future[str | RegistryError]]] = {}
        """By namespace, image and pull Secrets: until when an answer holds, and what a registry answered."""

    def answers(self, body: JsonObject) -> Mapping[str, CacheAnswer]:
        """Return what has been answered for a run's steps."""
        asked = self._asked.get(key_of(body))
        return asked.answers if asked is not None and asked.uid == body["metadata"]["uid"] else {}

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        asked = self._asked.pop(key, None)
        for task in asked.under_way.values() if asked is not None else ():
            task.cancel()

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._asked):
            self.forget(key)

    async def look_up(self, body: JsonObject, context: PodContext, steps: Iterable[Step]) -> bool:
        """Ask for steps that are about to start; return whether all is answered by now.

        When the store does not answer for one, it is not asked for the others. A store, or a registry, that takes its time
        does not hold up the reconciles of other runs.
        """
        key = key_of(body)
        asked = self._asked.get(key)
        if asked is None or asked.uid != body["metadata"]["uid"]:
            self.forget(key)
            asked = self._asked[key] = _Asked(body["metadata"]["uid"])
        steps = tuple(steps)
        new = [step for step in steps if step.name not in asked.under_way]
        if new:
            task = asyncio.create_task(self._ask_for(asked, context, new))
            asked.under_way.update((step.name, task) for step in new)
            await asyncio.wait({task}, timeout=ANSWERS_AWAITED_SECONDS)
            if not task.done():
                task.add_done_callback(lambda ended: None if ended.cancelled() else self._wake(key))
        return not any(step.name in asked.under_way for step in steps)

    def without_changed_keys(
        self, body: JsonObject, context: PodContext, steps: Iterable[Step], statuses: Iterable[StepStatus]
    ) -> tuple[StepStatus, ...]:
        """Return the statuses, without the keys of those of the steps that do not run as they were when the cache was asked.

        A stack may change while a step waits for its turn, or is tried again.
        """
        by_name = {step.name: step for step in steps}
        return tuple(
            self._without_changed_key(body, context, by_name[status.name], status)
            if status.name in by_name and status.cache_key is not None
            else status
            for status in statuses
        )

    def _without_changed_key(self, body: JsonObject, context: PodContext, step: Step, status: StepStatus) -> StepStatus:
        if status.cache_key == cache_key(context, step, status.image_digest or ""):
            return status
        asked = self._asked.get(key_of(body))
        if asked is not None:
            asked.answers[step.name] = CacheAnswer(image_digest=status.image_digest, message=CHANGED)
        return status.model_copy(update={"cache_key": None, "cache_message": CHANGED})

    async def _ask_for(self, asked: _Asked, context: PodContext, steps: Iterable[Step]) -> None:
        """Put down the answers, when all are there: so the run is woken once for them."""
        at_once, unavailable, answers = asyncio.Semaphore(LOOKUPS_AT_ONCE), set[str](), dict[str, CacheAnswer]()

        async def ask(step: Step) -> None:
            async with at_once:
                answers[step.name] = await self._answer_in_any_case(context, step, unavailable)

        await asyncio.gather(*(ask(step) for step in steps))
        asked.answers.update(answers)
        for step in steps:
            asked.under_way.pop(step.name, None)

    async def _answer_in_any_case(self, context: PodContext, step: Step, unavailable: set[str]) -> CacheAnswer:
        try:
            return await self._answer(context, step, unavailable)
        except Exception:
            logger.exception("The cache cannot be asked for step %s of run %s", step.name, context.run.name)
            return CacheAnswer(message="The cache could not be asked; the operator's log has the reason.")

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
            record = await self._record(client, store, naming.cache_record_key(context.run.namespace, key), step)
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
