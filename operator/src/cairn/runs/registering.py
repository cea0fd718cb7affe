"""Has the models of runs registered in the model registries of their stacks, beside the reconciles."""

from __future__ import annotations

import asyncio
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.clients.clock import Clock
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ArtifactStore, StoreClient
from cairn.components.connections import Connections
from cairn.components.errors import ComponentError
from cairn.runs.cel_evaluator import Evaluator
from cairn.runs.instances import RunSteps
from cairn.runs.registered_run import Means, RegisteredRun
from cairn.runs.registration import decision_of, registers, wanted_of, with_registrations
from cairn.runs.tracking import RunTracking
from cairn.stacks.resolution import UsableStack


class RunRegistration:
    """Knows what becomes of the models of each run; `wake` has a run reconciled when that changes."""

    def __init__(
        self,
        clock: Clock,
        wake: Wake,
        tracking: RunTracking,
        evaluator: Evaluator,
        stores: Connections[StoreClient],
    ) -> None:
        self._clock = clock
        self._wake = wake
        self._tracking = tracking
        self._evaluator = evaluator
        self._stores = stores
        self._runs: dict[Key, tuple[str, RegisteredRun]] = {}
        self._withdrawing: set[asyncio.Task[None]] = set()

    def follow(
        self,
        body: JsonObject,
        spec: RunSpec,
        steps: RunSteps,
        status: PipelineRunStatus,
        stack: UsableStack | None,
    ) -> None:
        """Have registered what a status says is there; without a stack, later."""
        if not registers(spec):
            return
        key, uid = key_of(body), body["metadata"]["uid"]
        known = self._runs.get(key)
        if known is None or known[0] != uid:
            self.let_go(key)
            recorded = {(one.step, one.artifact): one for one in status.registrations or ()}
            tags = {
                "cairn.run": key[1],
                "cairn.namespace": key[0],
                "cairn.run.uid": uid,
                "cairn.pipeline": spec.pipeline,
            }
            known = self._runs[key] = uid, RegisteredRun(tags, recorded, self._clock, lambda: self._wake(key))
        known[1].want(wanted_of(steps, status), decision_of(body), self._means(key, status, stack))

    def with_registrations(self, status: PipelineRunStatus, body: JsonObject, now: str) -> PipelineRunStatus:
        """Return a run's status with what became of its models."""
        known = self._runs.get(key_of(body))
        if known is None:
            return status
        generation = int(body["metadata"]["generation"])
        return with_registrations(status, known[1].states, known[1].problem, generation, now)

    def seconds_until_due(self, body: JsonObject) -> float | None:
        """Return when to look at a run again though nothing has happened; None where it need not be."""
        known = self._runs.get(key_of(body))
        return known[1].seconds_until_due() if known is not None else None

    def let_go(self, key: Key) -> None:
        """Forget a run, of whose models nothing more is to become."""
        known = self._runs.pop(key, None)
        if known is not None:
            known[1].stop()

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._runs):
            self.let_go(key)
        for task in self._withdrawing:
            task.cancel()

    def run_is_gone(self, key: Key) -> None:
        """Have what waits for approval wait no longer: the run was deleted."""
        known = self._runs.get(key)
        self.let_go(key)
        if known is not None:
            task = asyncio.create_task(known[1].withdraw())
            self._withdrawing.add(task)
            task.add_done_callback(self._withdrawing.discard)

    def _means(self, key: Key, status: PipelineRunStatus, stack: UsableStack | None) -> Means | ComponentError:
        name = status.stack.name if status.stack is not None else ""
        if stack is None:
            return ComponentError(
                "StackNotReady", f"Stack {name} is gone or not ready; see what it says, or make it again."
            )
        if stack.model_registry is None or stack.experiment_tracker is None:
            message = f"Stack {name} has no model registry any more; name it in its modelRegistryRef again."
            return ComponentError("ModelRegistryNotFound", message)
        store, run_record = stack.artifact_store, status.tracking.run_id if status.tracking is not None else None

        async def record_of(step: str, attempt: int) -> str | None:
            return await self._tracking.record_id(key, step, attempt) or run_record

        async def is_kept(uri: str) -> bool:
            return await self._is_kept(store, uri)

        gate = self._tracking.gate_of(stack.experiment_tracker)
        return Means(gate, self._evaluator.evaluate, record_of, is_kept)

    async def _is_kept(self, store: ArtifactStore[Any], uri: str) -> bool:
        """Return whether an artifact is there, as far as the operator can see; raises StoreUnavailableError."""
        place = store.uri("")
        if not store.open_to_operator or not uri.startswith(place):
            return True
        client, key = await self._stores.client_of(store), uri.removeprefix(place)
        return await client.entity_tag(key) is not None or bool(await client.entity_tags_below(key))
