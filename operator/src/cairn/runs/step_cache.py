"""Asks whether steps have run before, beside the reconciles when the answer takes its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.clients.clock import Clock
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN
from cairn.clients.registry import RegistryError
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ArtifactStore, StoreClient, StoreUnavailableError
from cairn.components.connections import Connections
from cairn.runs import naming
from cairn.runs.cache_key import cache_key, not_cacheable
from cairn.runs.cache_record import CacheAnswer
from cairn.runs.cached_outputs import usable_record
from cairn.runs.image_digests import ImageDigests
from cairn.runs.instances import RunSteps
from cairn.runs.pauses import Pauses
from cairn.runs.pod import PodContext, step_template
from cairn.runs.states import ENDED
from cairn.runs.store_slots import StoreSlots

logger = logging.getLogger(__name__)

LOOKUPS_AT_ONCE = 32
LOOKUPS_IN_A_STORE = 8
ANSWERS_AWAITED_SECONDS = 0.5
"""How long a reconcile waits for answers, which take some milliseconds; later ones wake the run."""
LOOKUP_SECONDS = 10.0
"""How long steps that are about to start wait for answers."""
ANSWER_HOLDS_SECONDS = 10.0
"""How long what is in the store may be used without asking again."""
CHANGED = "What it depends on has changed since the cache was asked for it; it is not kept in the cache."
TOO_LATE = f"The cache did not answer within {LOOKUP_SECONDS:.0f} s."
UNFORESEEN = "The cache could not be asked; the operator's log has the reason."


@dataclass
class _Asked:
    """What the cache has been asked for of a run."""

    uid: str
    answers: dict[str, CacheAnswer] = field(default_factory=dict[str, CacheAnswer])
    """By step."""
    answered_at: dict[str, float] = field(default_factory=dict[str, float])
    """By step, on the monotonic clock."""
    under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])
    """By step, what asks for it, maybe with others."""


class StepCache:
    """What is known of steps that may be cached; holds only what can be asked again."""

    def __init__(
        self, stores: Connections[StoreClient], digests: ImageDigests, clock: Clock, pauses: Pauses, wake: Wake
    ) -> None:
        """Make a cache; `wake` has a run reconciled when something is answered late."""
        self._stores = stores
        self._digests = digests
        self._clock = clock
        self._pauses = pauses
        self._wake = wake
        self._at_once = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._slots = StoreSlots(LOOKUPS_IN_A_STORE)
        self._asked: dict[Key, _Asked] = {}

    def answers(self, body: JsonObject) -> Mapping[str, CacheAnswer]:
        """Return what has been answered for a run's steps."""
        asked = self._asked.get(key_of(body))
        return asked.answers if asked is not None and asked.uid == body["metadata"]["uid"] else {}

    def has_hits(self, body: JsonObject) -> bool:
        """Return whether something can be used in place of a step."""
        return any(answer.record is not None for answer in self.answers(body).values())

    def forget_old_hits(
        self, body: JsonObject, context: PodContext, steps: RunSteps, recorded: Mapping[str, StepStatus]
    ) -> None:
        """Forget what may not be so any more: a step's key has changed, or what was in the store may be gone."""
        asked, now = self._asked[key_of(body)], self._clock.monotonic()
        for name, answer in list(asked.answers.items()):
            if answer.record is None:
                continue
            young = now <= asked.answered_at[name] + ANSWER_HOLDS_SECONDS
            if not (
                young and _is_about_to_start(steps, name, recorded) and _holds(answer, context, steps.by_name[name])
            ):
                del asked.answers[name]

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

        A store, or a registry, that takes its time does not hold up the reconciles of other runs.
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
        questions = {step.name: asyncio.create_task(self._answer_in_any_case(context, step)) for step in steps}
        try:
            await asyncio.wait(questions.values(), timeout=LOOKUP_SECONDS)
        finally:
            for question in questions.values():
                question.cancel()
        for name, question in questions.items():
            asked.answers[name] = question.result() if question.done() else CacheAnswer(message=TOO_LATE)
            asked.answered_at[name] = self._clock.monotonic()
            asked.under_way.pop(name, None)

    async def _answer_in_any_case(self, context: PodContext, step: Step) -> CacheAnswer:
        try:
            return await self._answer(context, step)
        except Exception:
            logger.exception("The cache cannot be asked for step %s of run %s", step.name, context.run.name)
            return CacheAnswer(message=UNFORESEEN)

    async def _answer(self, context: PodContext, step: Step) -> CacheAnswer:
        store = context.stack.artifact_store
        problem = not_cacheable(step)
        if problem is not None:
            return CacheAnswer(message=problem)
        if not store.open_to_operator:
            message = (
                f"It is not cached: only pods have access to the artifact store, the operator has none: {store.name}."
            )
            return CacheAnswer(message=message)
        secrets = tuple(ref.name for ref in step_template(context, step).image_pull_secrets or ())
        try:
            digest = await self._digests.of(context.run.namespace, step.image, secrets)
        except RegistryError as error:
            return CacheAnswer(message=f"{error}; it is not cached. Name the image by its digest.")
        return await self._look_into(store, context, step, digest)

    async def _look_into(self, store: ArtifactStore[Any], context: PodContext, step: Step, digest: str) -> CacheAnswer:
        """Ask the store, unless it has not answered just now, maybe for another step."""
        key = cache_key(context, step, digest)
        if key is None:
            return CacheAnswer()
        record_key = naming.cache_record_key(context.run.namespace, key)
        async with self._slots.of(store.key), self._at_once:
            if self._pauses.seconds_left(store.key) > 0:
                return CacheAnswer(key, digest, "The cache could not be read: the artifact store has failed just now.")
            try:
                client = await self._stores.client_of(store)
                found = await usable_record(client, store, record_key, step, self._clock.now())
            except (StoreUnavailableError, *CAN_BE_TRIED_AGAIN) as error:
                self._pauses.failed(store.key)
                return CacheAnswer(key, digest, f"The cache could not be read: {error}")
        self._pauses.answered(store.key)
        return CacheAnswer(key, digest, found) if isinstance(found, str) else CacheAnswer(key, digest, record=found)


def _is_about_to_start(steps: RunSteps, name: str, recorded: Mapping[str, StepStatus]) -> bool:
    """Return whether all that a step needs has ended, as far as is recorded, and it has not begun."""
    if name not in steps.by_name or (name in recorded and recorded[name].state != "Pending"):
        return False
    needed = (one for other in steps.needs(name) for one in steps.instances.get(other, (other,)))
    return all(one in recorded and recorded[one].state in ENDED for one in needed)


def _holds(answer: CacheAnswer, context: PodContext, step: Step) -> bool:
    return answer.key == cache_key(context, step, answer.image_digest or "")
