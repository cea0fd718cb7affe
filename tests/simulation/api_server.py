"""An API server that refuses, fails, answers too late, and at which the operator may die; and what it has seen."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta

from cairn.api.base import JsonObject
from cairn.api.time import timestamp
from cairn.clients.kubernetes import EVENTS, JOBS, PODS, ApiError, Resource
from tests.simulation.clock import SimulatedClock
from tests.unit.fake_kubernetes import FakeKubernetes, copied, selected

TOO_MANY_REQUESTS = (429, "TooManyRequests", "the server is busy")
INTERNAL_ERROR = (500, "InternalError", "the server failed")


def status_of_new_pod(spec: JsonObject) -> JsonObject:
    """Return the status of a pod that no scheduler has seen."""
    kinds = (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses"))
    waiting = {"waiting": {"reason": "PodInitializing"}}
    containers = {
        field_name: [{"name": item["name"], "state": waiting} for item in spec.get(kind, ())]
        for kind, field_name in kinds
    }
    return {"phase": "Pending", "conditions": [], **containers}


class Crash(BaseException):
    """The operator's process has ended."""


@dataclass
class Faults:
    """How often something goes wrong, each as a probability per request."""

    crash: float = 0.0
    error: float = 0.0
    active: bool = True


@dataclass
class Change:
    """What a watch would tell."""

    resource: Resource
    type: str
    body: JsonObject


@dataclass
class History:
    """What really happened, for the invariants."""

    made: list[JsonObject] = field(default_factory=list[JsonObject])
    """Jobs, and pods without one."""
    deleted_by_others: list[str] = field(default_factory=list[str])
    status_writes: list[JsonObject] = field(default_factory=list[JsonObject])
    kept: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What was kept in the artifact store, by key."""


class SimulatedApiServer(FakeKubernetes):
    """Objects, the changes that watches tell, and faults in between."""

    def __init__(self, clock: SimulatedClock, dice: random.Random, faults: Faults) -> None:
        super().__init__()
        self.clock = clock
        self.dice = dice
        self.faults = faults
        self.history = History()
        self.feeds: list[list[Change]] = []
        """What each operator's watches have not told it yet."""
        self.asked_by_operator = False

    def those(self, resource: Resource) -> list[JsonObject]:
        """Return the objects of a kind, by name, as they are kept: to be looked at only."""
        return [body for (plural, _, _), body in sorted(self.objects.items()) if plural == resource.plural]

    def all(self, resource: Resource) -> list[JsonObject]:
        return [copied(body) for body in self.those(resource)]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        self._before()
        return await super().get(resource, namespace, name)

    async def pod_log(self, namespace: str, pod: str, container: str, *, lines: int, limit: int) -> str:
        self._before()
        return await super().pod_log(namespace, pod, container, lines=lines, limit=limit)

    async def whole_pod_log(self, namespace: str, pod: str, container: str, *, limit: int) -> bytes:
        self._refuse_maybe()
        await super().get(PODS, namespace, pod)
        return b"a log"

    async def create(
        self, resource: Resource, namespace: str, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        if resource is EVENTS:
            return body
        self._before()
        if dry_run:
            return copied(body)
        stamped = copied(body)
        stamped["metadata"]["creationTimestamp"] = timestamp(self.clock.true_time())
        if resource is PODS:
            stamped["status"] = status_of_new_pod(stamped["spec"])
        created = await super().create(resource, namespace, stamped)
        if resource in {JOBS, PODS}:
            self.history.made.append(created)
        self._after()
        return created

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, operations: list[JsonObject]
    ) -> JsonObject:
        self._before()
        written = await super().patch_status(resource, namespace, name, operations)
        self.history.status_writes.append(copied(written))
        self._after()
        return written

    async def merge(self, resource: Resource, namespace: str, name: str, body: JsonObject) -> JsonObject:
        self._before()
        merged = await super().merge(resource, namespace, name, body)
        self._after()
        return merged

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        self._before()
        body = self.objects.get((resource.plural, namespace, name))
        if body is not None and body["metadata"]["uid"] == uid:
            self.take_away(resource, namespace, name, grace_seconds)
        self._after()

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        self._before()
        for body in [body for body in self.all(resource) if selected(selector, body)]:
            self.take_away(resource, namespace, body["metadata"]["name"])
        self._after()

    def take_away(self, resource: Resource, namespace: str, name: str, grace_seconds: int | None = None) -> None:
        """Delete an object as anybody may: a Job with its pods, a pod with its grace period."""
        if resource is PODS:
            self._terminate(self.objects[resource.plural, namespace, name], grace_seconds)
            return
        job = self.remove(resource, namespace, name)
        for pod in self.those(PODS):
            if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]:
                self._terminate(self.objects[PODS.plural, namespace, pod["metadata"]["name"]], grace_seconds)

    def _terminate(self, pod: JsonObject, grace_seconds: int | None) -> None:
        metadata = pod["metadata"]
        ended = pod["status"]["phase"] in {"Succeeded", "Failed"} or "nodeName" not in pod["spec"]
        if ended and not metadata.get("finalizers"):
            self.remove(PODS, metadata["namespace"], metadata["name"])
            return
        grace = 0 if ended else 30 if grace_seconds is None else grace_seconds
        moment = self.clock.true_time() + timedelta(seconds=grace)
        changed = copied(pod)
        changed["metadata"] |= {"deletionTimestamp": timestamp(moment), "deletionGracePeriodSeconds": grace}
        self._store(PODS, changed, "MODIFIED")

    def set_status(self, resource: Resource, body: JsonObject) -> None:
        """Write an object as a controller or the kubelet does."""
        self._store(resource, copied(body), "MODIFIED")

    def _before(self) -> None:
        if not (self.asked_by_operator and self.faults.active):
            return
        if self.dice.random() < self.faults.crash:
            raise Crash
        self._refuse_maybe()

    def _refuse_maybe(self) -> None:
        if self.faults.active and self.dice.random() < self.faults.error:
            raise ApiError(*self.dice.choice((TOO_MANY_REQUESTS, INTERNAL_ERROR)))

    def _after(self) -> None:
        """The request has taken effect; whether the operator learns of it is another question."""
        if not (self.asked_by_operator and self.faults.active):
            return
        if self.dice.random() < self.faults.crash:
            raise Crash
        if self.dice.random() < self.faults.error:
            raise TimeoutError

    def _tell(self, resource: Resource, type_: str, body: JsonObject) -> None:
        for feed in self.feeds:
            feed.append(Change(resource, type_, copied(body)))
