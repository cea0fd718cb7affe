"""Keeps Stacks' statuses true: Ready follows the components, deletion waits for runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from cairn.api.base import FINALIZER, JsonObject
from cairn.api.conditions import find_condition, set_condition
from cairn.api.stack import StackSpec, StackStatus
from cairn.api.time import timestamp
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import STACKS
from cairn.clients.store import Key
from cairn.components.base import ARTIFACT_STORE, ORCHESTRATOR
from cairn.components.reconciler import READY
from cairn.components.registry import first_problem
from cairn.stacks.resolution import Resolution, default_stack, is_default, resolve

DEFAULT = "Default"


class StackReconciler:
    """Reconciles one Stack at a time; holds nothing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: Key) -> float | None:
        """Bring one Stack up to date; return in how many seconds to look at it again."""
        body = self._cluster.stacks.get(key)
        if body is None:
            return None
        metadata = body["metadata"]
        finalizers = metadata.get("finalizers") or []
        active = active_runs(self._cluster, key)
        if metadata.get("deletionTimestamp") and not active:
            if FINALIZER in finalizers:
                kept = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
                await self._cluster.set_finalizers(STACKS, self._cluster.stacks, body, kept)
            return None
        if not metadata.get("deletionTimestamp") and FINALIZER not in finalizers:
            written = await self._cluster.set_finalizers(STACKS, self._cluster.stacks, body, [*finalizers, FINALIZER])
            if written is None:
                return None
            body = written
        await self._write(body, self._resolve(key, body, active), len(active))
        return None

    def _resolve(self, key: Key, body: JsonObject, active: list[str]) -> Resolution:
        resolution = resolve_stack(self._cluster, key, body)
        if not body["metadata"].get("deletionTimestamp"):
            return resolution
        some = ", ".join(active[:5]) + (f" and {len(active) - 5} more" if len(active) > 5 else "")
        message = f"Deletion waits for the runs that use it: {some}; let them end, or delete them."
        return replace(resolution, stack=None, reason="Deleting", message=message)

    async def _write(self, body: JsonObject, resolution: Resolution, active: int) -> None:
        old = StackStatus.model_validate(body.get("status") or {}, extra="ignore")
        metadata, now = body["metadata"], timestamp(datetime.now(UTC))
        ready = resolution.stack is not None
        conditions = set_condition(
            [condition for condition in old.conditions if condition.type != DEFAULT],
            READY,
            status="True" if ready else "False",
            reason=resolution.reason,
            message=resolution.message,
            generation=metadata["generation"],
            now=now,
        )
        contest = default_contest(body, self._cluster.stacks.in_namespace(metadata["namespace"]))
        if contest is not None:
            wins, message = contest
            before = find_condition(old.conditions, DEFAULT)
            conditions = set_condition(
                [*conditions, before] if before else conditions,
                DEFAULT,
                status="True" if wins else "False",
                reason="SeveralDefaults" if message else "OnlyDefault",
                message=message or "Runs without a stackRef use this Stack.",
                generation=metadata["generation"],
                now=now,
            )
        new = StackStatus(
            conditions=tuple(conditions),
            observed_generation=metadata["generation"],
            orchestrator=resolution.flavor_of(ORCHESTRATOR),
            artifact_store=resolution.flavor_of(ARTIFACT_STORE),
            components=resolution.components,
            active_runs=active,
        )
        written = await self._cluster.write_status(STACKS, self._cluster.stacks, body, new.to_json())
        was = find_condition(old.conditions, READY)
        if written is not None and (was is None or (was.status, was.reason) != (str(ready), resolution.reason)):
            kind = "Normal" if ready else "Warning"
            await self._cluster.events.record(body, kind, resolution.reason, "Resolve", resolution.message)


def resolve_stack(cluster: Cluster, key: Key, body: JsonObject) -> Resolution:
    """Resolve a Stack object with the components of its namespace."""
    try:
        spec = StackSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return Resolution((), None, "InvalidSpec", first_problem(error))
    return resolve(key[1], spec, lambda name: cluster.components.get((key[0], name)))


def active_runs(cluster: Cluster, key: Key) -> list[str]:
    """Return the names of the runs that use a Stack and have not finished."""
    return [
        run["metadata"]["name"]
        for run in cluster.runs.indexed(*key)
        if not (run.get("status") or {}).get("completionTime")
    ]


def default_contest(body: JsonObject, stacks: list[JsonObject]) -> tuple[bool, str | None] | None:
    """Return whether a Stack that asks to be the default is it, and what to do where several ask; None if it does not ask."""
    if not is_default(body):
        return None
    others = [stack["metadata"]["name"] for stack in stacks if is_default(stack) and stack is not body]
    others = [name for name in others if name != body["metadata"]["name"]]
    winner = default_stack(stacks)
    name = winner["metadata"]["name"] if winner else body["metadata"]["name"]
    wins = name == body["metadata"]["name"]
    if not others:
        return wins, None
    return wins, (
        f"Several Stacks have the annotation cairn.dev/default-stack: {', '.join(sorted([*others, body['metadata']['name']]))}. "
        f"The newest, {name}, is the default; take the annotation off the others."
    )
