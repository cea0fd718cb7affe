"""Keeps Stacks' statuses true: Ready follows the components, deletion waits for runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cairn.api.base import JsonObject
from cairn.api.conditions import find_condition, set_condition, with_progress
from cairn.api.deletion import is_being_deleted
from cairn.api.stack import StackStatus
from cairn.api.time import timestamp
from cairn.clients.cluster import Cluster
from cairn.clients.condition_events import EventType, Told, failures_warn
from cairn.clients.kubernetes import PIPELINE_RUNS, STACKS
from cairn.clients.store import Key
from cairn.components.component_types import ARTIFACT_STORE, EXPERIMENT_TRACKER, ORCHESTRATOR
from cairn.components.reconciler import READY
from cairn.stacks.default_stack import default_contest
from cairn.stacks.progress import progress_of
from cairn.stacks.resolution import COMPONENTS_NOT_CHECKED, NOT_CHECKED, Resolution, resolve_stack
from cairn.stacks.usability import Usability

DEFAULT = "Default"
SEVERAL_DEFAULTS = "SeveralDefaults"
RECHECK_SECONDS = 60.0
"""How often a Stack whose deletion waits asks whether what it waits for is still there."""
UNUSABLE_SECONDS = 10.0
"""How often a Stack that cannot be used for a reason that no watch tells of asks whether that is mended."""
CHECK_SECONDS = 300.0
"""How often a Stack whose steps run elsewhere asks for what no watch tells of."""


class StackReconciler:
    """Reconciles one Stack at a time."""

    def __init__(self, cluster: Cluster, usability: Usability) -> None:
        self._cluster = cluster
        self._usability = usability

    async def reconcile(self, key: Key) -> float | None:
        """Bring one Stack up to date; return in how many seconds to look at it again."""
        body = self._cluster.stacks.get(key)
        if body is None:
            return None
        active = active_runs(self._cluster, key)
        while is_being_deleted(body) and active:
            if await self._cluster.still_there(PIPELINE_RUNS, self._cluster.runs, (key[0], active[0])):
                break
            active = active_runs(self._cluster, key)
        if is_being_deleted(body) and not active:
            await self._cluster.let_go(STACKS, self._cluster.stacks, body)
            return None
        if not is_being_deleted(body):
            held = await self._cluster.hold(STACKS, self._cluster.stacks, body)
            if held is None:
                return None
            body = held
        resolution = self._resolve(key, body, active)
        stack = resolution.stack
        problem = await self._usability.problem_with(stack) if stack is not None else None
        if problem is not None:
            resolution = replace(resolution, stack=None, reason=problem.reason, message=problem.message)
        await self._write(body, resolution, len(active))
        if is_being_deleted(body):
            return RECHECK_SECONDS
        if problem is not None:
            return UNUSABLE_SECONDS
        return CHECK_SECONDS if stack is not None and stack.orchestrator.runs_elsewhere else None

    def _resolve(self, key: Key, body: JsonObject, active: list[str]) -> Resolution:
        resolution = resolve_stack(self._cluster, key, body)
        if not is_being_deleted(body):
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
                reason=SEVERAL_DEFAULTS if message else "OnlyDefault",
                message=message or "Runs without a stackRef use this Stack.",
                generation=metadata["generation"],
                now=now,
            )
        conditions = with_progress(conditions, progress_of(resolution), READY, now)
        new = StackStatus(
            conditions=tuple(conditions),
            observed_generation=metadata["generation"],
            orchestrator=resolution.flavor_of(ORCHESTRATOR),
            artifact_store=resolution.flavor_of(ARTIFACT_STORE),
            experiment_tracker=resolution.flavor_of(EXPERIMENT_TRACKER),
            components=resolution.components,
            active_runs=active,
        )
        await self._cluster.write_status(STACKS, self._cluster.stacks, body, new.to_json(), tell=TOLD)


def _ready_event(before: JsonObject | None, now: JsonObject) -> EventType | None:
    return failures_warn(before, now) if now["reason"] != COMPONENTS_NOT_CHECKED else None


def _parts(status: JsonObject) -> object:
    """Return what each component's part is in a Stack that is not Ready; one that is yet to be checked has none."""
    return [
        (item["type"], item["name"], item["reason"])
        for item in status.get("components") or ()
        if not item["ready"] and item["reason"] != NOT_CHECKED
    ]


def _default_event(before: JsonObject | None, now: JsonObject) -> EventType:  # noqa: ARG001 - as Told wants it
    return "Warning" if now["reason"] == SEVERAL_DEFAULTS else "Normal"


TOLD = (Told(READY, "Resolve", _ready_event, _parts), Told(DEFAULT, "Resolve", _default_event))
"""Of which conditions' changes there are Events."""


def active_runs(cluster: Cluster, key: Key) -> list[str]:
    """Return the names of the runs that use a Stack and have not finished."""
    return [
        run["metadata"]["name"]
        for run in cluster.runs.indexed(*key)
        if not (run.get("status") or {}).get("completionTime")
    ]
