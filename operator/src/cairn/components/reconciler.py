"""Keeps StackComponents' statuses true: checks them when there is a reason to, and says what was found."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.conditions import INVALID_SPEC, ConditionStatus, condition_of, set_condition, with_progress
from cairn.api.deletion import is_being_deleted, is_held
from cairn.api.stack_component import StackComponentStatus
from cairn.api.time import parse, timestamp
from cairn.clients.cluster import Cluster
from cairn.clients.condition_events import EventType, Told
from cairn.clients.jitter import jittered
from cairn.clients.kubernetes import STACK_COMPONENTS, STACKS, ForbiddenError
from cairn.clients.store import Key
from cairn.components.base import Release, Verdict
from cairn.components.errors import ComponentError
from cairn.components.neighbours import Neighbours
from cairn.components.progress import UNKNOWN_FLAVOR, progress_of
from cairn.components.registry import AnyFlavor, UnknownFlavorError, load, loaded
from cairn.components.releases.keeper import ReleaseKeeper
from cairn.components.releases.verdicts import HELM_FAILED, UPGRADE_FAILED
from cairn.components.usage import users_of

READY = "Ready"
CHECK_FAILED = "CheckFailed"
"""Reason of a component of which nothing is known: RBAC keeps the operator from checking it."""
IN_USE, USED = "InUse", "UsedByStacks"
"""Condition of a component whose deletion waits, and its reason. Until it goes, it is checked as ever."""


def _ready_event(before: JsonObject | None, now: JsonObject) -> EventType:  # noqa: ARG001 - as Told wants it
    return "Warning" if now["status"] == "False" or now["reason"] in {CHECK_FAILED, HELM_FAILED} else "Normal"


def _in_use_event(before: JsonObject | None, now: JsonObject) -> EventType:  # noqa: ARG001 - as Told wants it
    return "Warning"


TOLD = (Told(READY, "Check", _ready_event), Told(IN_USE, "Delete", _in_use_event))
"""Of which conditions' changes there are Events."""


@dataclass(frozen=True)
class Basis:
    """What a check is made of: nothing of it having changed, it need not be made again before its time."""

    generation: int
    secrets: tuple[tuple[str, str], ...] = ()
    """Name and resource version of each Secret that the configuration names."""
    neighbours: tuple[str, ...] = ()
    """How the components are that it refers to."""
    release: str | None = None
    """The state that Helm is to keep its release in."""


@dataclass(frozen=True)
class Check:
    """The last check of a component."""

    basis: Basis
    verdict: Verdict
    due: float
    """When the next one is due, on the monotonic clock."""


class ComponentReconciler:
    """Reconciles one StackComponent at a time; holds only what can be found out again."""

    def __init__(self, cluster: Cluster, releases: ReleaseKeeper, *, interval: float, retry_interval: float) -> None:
        self._cluster = cluster
        self._releases = releases
        self._interval = interval
        self._retry_interval = retry_interval
        self._checks: dict[Key, Check] = {}
        self._secrets_of: dict[Key, tuple[int, frozenset[str]]] = {}
        """Generation, and the names of the Secrets that it names."""
        self._touched: set[Key] = set()
        """Those of whose releases an object has changed since they were looked at."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one component up to date; return in how many seconds to look at it again."""
        body = self._cluster.components.get(key)
        if body is None:
            self._checks.pop(key, None)
            self._secrets_of.pop(key, None)
            return None
        if is_being_deleted(body):
            if not is_held(body):
                return None
            while users := self._users(body):
                if await self._cluster.still_there(STACKS, self._cluster.stacks, (key[0], users[0])):
                    break
            else:
                return await self._let_go(key, body)
        else:
            held = await self._cluster.hold(STACK_COMPONENTS, self._cluster.components, body)
            if held is None:
                return None
            body = held
        try:
            check = await self._check(key, body)
        except ForbiddenError as error:
            message = f"The API server did not let the operator check it: {error.message}; it is tried again."
            await self._write(body, Verdict.unknown(CHECK_FAILED, message))
            raise
        await self._write(body, check.verdict)
        return max(0.1, check.due - time.monotonic())

    def uses_secret(self, key: Key, secret: str) -> bool:
        """Return whether a component names a Secret of its namespace."""
        body = self._cluster.components.get(key)
        if body is None:
            return False
        generation = body["metadata"]["generation"]
        known = self._secrets_of.get(key)
        if known is None or known[0] != generation:
            known = self._secrets_of[key] = generation, _secrets_named_by(body)
        return secret in known[1]

    def depends_on(self, key: Key, other: str) -> bool:
        """Return whether a component refers to another one of its namespace."""
        body = self._cluster.components.get(key)
        flavor = loaded(body) if body is not None else None
        return flavor is not None and other in flavor.components

    def release_changed(self, key: Key) -> None:
        """Have a component's release looked at: one of its objects has changed."""
        self._touched.add(key)

    async def _check(self, key: Key, body: JsonObject) -> Check:
        basis = Basis(body["metadata"]["generation"])
        try:
            flavor = load(body)
        except UnknownFlavorError as error:
            return self._keep(key, basis, Verdict.failed(UNKNOWN_FLAVOR, f"{error}; upgrade the operator."))
        except ValidationError as error:
            return self._keep(key, basis, Verdict.failed(INVALID_SPEC, f"{first_problem(error)}."))
        neighbours = Neighbours(self._cluster, key[0])
        secrets = tuple((name, neighbours.version_of_secret(name)) for name in sorted(flavor.secrets))
        basis = replace(basis, secrets=secrets, neighbours=self._versions(key, flavor))
        try:
            release = flavor.release(neighbours)
        except ComponentError as error:
            return self._keep(key, basis, Verdict.failed(error.reason, error.message, _endpoint(body)))
        if release is not None:
            basis = replace(basis, release=self._releases.state_of(key, release))
        last, touched = self._checks.get(key), key in self._touched
        is_due = last is None or last.basis != basis or time.monotonic() >= last.due
        if last is not None and not (is_due or touched or self._releases.is_busy(key)):
            return last
        self._touched.discard(key)
        try:
            verdict = await self._keep_release(key, flavor, release, touched=touched) if release is not None else None
        except ComponentError as error:
            return self._keep(key, basis, Verdict.failed(error.reason, error.message, _endpoint(body)))
        if verdict is None:
            return self._keep(key, basis, await self._ask(flavor, neighbours))
        message = verdict.message
        if verdict.reason == UPGRADE_FAILED:  # does what was there before serve?
            found = await self._ask(flavor, neighbours)
            message = message if found.ready else f"{message} Besides, {found.reason}: {found.message}"
        return self._keep(key, basis, replace(verdict, message=message, endpoint=_endpoint(body)))

    async def _keep_release(self, key: Key, flavor: AnyFlavor, release: Release, *, touched: bool) -> Verdict | None:
        await flavor.check_before_release(self._cluster.kubernetes)
        return await self._releases.keep(key, release, touched=touched)

    async def _ask(self, flavor: AnyFlavor, neighbours: Neighbours) -> Verdict:
        """Return what the check of a component finds, and what is wrong with the pods of its release."""
        found = await flavor.check(self._cluster.kubernetes, neighbours)
        problem = None if found.ready else self._releases.unready_of(flavor.key)
        return found if problem is None else replace(found, message=f"{found.message} Its {problem}.")

    def _keep(self, key: Key, basis: Basis, verdict: Verdict) -> Check:
        interval = self._interval if verdict.ready else self._retry_interval
        check = self._checks[key] = Check(basis, verdict, time.monotonic() + jittered(interval, 0.1))
        return check

    def _versions(self, key: Key, flavor: AnyFlavor) -> tuple[str, ...]:
        """Return how the components are that one refers to: their generations, and what was found of them."""
        found: list[str] = []
        for name in sorted(flavor.components):
            body = self._cluster.components.get((key[0], name)) or {"metadata": {}}
            metadata, ready = body["metadata"], condition_of(body, READY) or {}
            found.append(f"{metadata.get('uid')} {metadata.get('generation')} {ready.get('reason')}")
        return tuple(found)

    async def _write(self, body: JsonObject, verdict: Verdict) -> None:
        old = StackComponentStatus.model_validate(body.get("status") or {}, extra="ignore")
        metadata, now = body["metadata"], datetime.now(UTC)
        users = self._users(body)
        held = _held_by(users) if users and is_being_deleted(body) else None
        conditions = set_condition(
            [condition for condition in old.conditions if held or condition.type != IN_USE],
            READY,
            status=_status(verdict),
            reason=verdict.reason,
            message=verdict.message,
            generation=metadata["generation"],
            now=timestamp(now),
        )
        if held:
            conditions = set_condition(
                conditions,
                IN_USE,
                status="True",
                reason=USED,
                message=held,
                generation=metadata["generation"],
                now=timestamp(now),
            )
        conditions = with_progress(conditions, progress_of(verdict), READY, timestamp(now))
        type_, flavor = _type_and_flavor(body)
        changed = (
            tuple(conditions) != old.conditions or verdict.endpoint != old.endpoint or users != (old.used_by or ())
        )
        recent = old.last_checked_time and (now - parse(old.last_checked_time)).total_seconds() < self._interval * 0.8
        new = StackComponentStatus(
            conditions=tuple(conditions),
            observed_generation=metadata["generation"],
            type=type_,
            flavor=flavor,
            endpoint=verdict.endpoint,
            last_checked_time=old.last_checked_time if recent and not changed else timestamp(now),
            used_by=users or None,
        )
        await self._cluster.write_status(STACK_COMPONENTS, self._cluster.components, body, new.to_json(), tell=TOLD)

    async def _let_go(self, key: Key, body: JsonObject) -> float | None:
        """Let a component that is being deleted go, since no Stack names it, once its release is gone."""
        flavor = loaded(body)
        verdict = await self._releases.remove(key, keep_data=flavor is None or flavor.keeps_data)
        if verdict is not None:
            await self._write(body, verdict)
            return self._retry_interval
        await self._cluster.let_go(STACK_COMPONENTS, self._cluster.components, body)
        self._checks.pop(key, None)
        self._touched.discard(key)
        return None

    def _users(self, body: JsonObject) -> tuple[str, ...]:
        metadata = body["metadata"]
        return users_of(metadata["name"], self._cluster.stacks.in_namespace(metadata["namespace"]))


def _endpoint(body: JsonObject) -> str | None:
    """Return the address that is known already of what a component stands for."""
    return (body.get("status") or {}).get("endpoint")


def _secrets_named_by(body: JsonObject) -> frozenset[str]:
    flavor = loaded(body)
    return flavor.secrets if flavor is not None else frozenset()


def _held_by(users: tuple[str, ...]) -> str:
    return f"Deletion waits for the Stacks that use it: {', '.join(users)}; change or delete them."


def _type_and_flavor(body: JsonObject) -> tuple[str | None, str | None]:
    for type_, union in (body.get("spec") or {}).items():
        for flavor in union:
            return type_, flavor
    return None, None


def _status(verdict: Verdict) -> ConditionStatus:
    if verdict.ready is None:
        return "Unknown"
    return "True" if verdict.ready else "False"
