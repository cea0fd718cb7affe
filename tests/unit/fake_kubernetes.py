"""An API server in memory: versions, conflicts, names that are taken, quotas, watches. No kopf, no network."""

from __future__ import annotations

import asyncio
import marshal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import jsonpatch

from cairn.api.base import JsonObject
from cairn.clients.cluster import Cluster
from cairn.clients.events import EventRecorder
from cairn.clients.kubernetes import (
    EVENTS,
    JOBS,
    JSON,
    PIPELINE_RUNS,
    PIPELINE_SCHEDULES,
    PIPELINES,
    PODS,
    SECRETS,
    STACK_COMPONENTS,
    STACKS,
    AlreadyExistsError,
    ApiError,
    ConflictError,
    InvalidError,
    Kubernetes,
    NotFoundError,
    Resource,
)
from cairn.clients.store import Key, ObjectStore, key_of
from tests.unit.builders import EARLIER

Place = tuple[str, str, str]
Objection = Callable[[JsonObject], ApiError | None]


def copied(value: Any) -> Any:
    """Return a copy of what JSON carries: many times as fast as `copy.deepcopy`."""
    return marshal.loads(marshal.dumps(value))  # noqa: S302 - what was made a moment before


class FakeKubernetes(Kubernetes):
    """What `clients.kubernetes.Kubernetes` would see of an API server."""

    def __init__(self) -> None:
        self.objects: dict[Place, JsonObject] = {}
        self.logs: dict[tuple[str, str], str] = {}
        """By pod and container."""
        self.requests: Counter[str] = Counter()
        """How often each `verb plural` was asked for."""
        self.objections: dict[str, Objection] = {}
        """By `verb plural`: what the API server has against a request; None lets it pass."""
        self.closed = False
        self._version = 100
        self._watches: list[tuple[str, asyncio.Queue[tuple[str, JsonObject] | ApiError | None]]] = []

    def add(self, resource: Resource, body: JsonObject) -> JsonObject:
        """Apply an object as a user does: create it, or replace what is there; a status stays unless one is given."""
        place = self._place(resource, body)
        old = self.objects.get(place)
        metadata: JsonObject = {
            "uid": f"uid-of-{body['metadata']['name']}-{self._version}",
            "generation": 1,
            "creationTimestamp": EARLIER,
            **(old["metadata"] if old else {}),
            **body["metadata"],
        }
        if old and old.get("spec") != body.get("spec") and "generation" not in body["metadata"]:
            metadata["generation"] += 1
        kept = {"status": old["status"]} if old and old.get("status") else {}
        applied = {**kept, **copied(body), "metadata": metadata}
        return self._store(resource, applied, "MODIFIED" if old else "ADDED")

    def remove(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """Let an object vanish."""
        body = self.objects.pop((resource.plural, namespace, name))
        self._version += 1
        gone = copied(body)
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(resource, "DELETED", gone)
        return gone

    def all(self, resource: Resource) -> list[JsonObject]:
        """Return the objects of a kind, by name."""
        return [copied(body) for place, body in sorted(self.objects.items()) if place[0] == resource.plural]

    def one(self, resource: Resource, name: str, namespace: str = "ml") -> JsonObject:
        """Return an object as it is now."""
        return copied(self.objects[resource.plural, namespace, name])

    def end_watches(self, error: ApiError | None = None) -> None:
        """End all watches, as the server does from time to time, or with an error."""
        for _, queue in self._watches:
            queue.put_nowait(error)
        self._watches.clear()

    @property
    def version(self) -> str:
        """The newest resource version."""
        return str(self._version)

    async def close(self) -> None:
        self.closed = True

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        self._ask("get", resource, {})
        body = self.objects.get((resource.plural, namespace or "", name))
        if body is None:
            raise NotFoundError(404, "NotFound", f'{resource.plural} "{name}" not found')
        return copied(body)

    async def list(
        self, resource: Resource, namespace: str | None, *, selector: str = "", fields: str = "", accept: str = JSON
    ) -> tuple[list[JsonObject], str]:
        self._ask("list", resource, {})
        mine = [body for body in self.all(resource) if namespace in {None, body["metadata"]["namespace"]}]
        return [body for body in mine if selected(selector, body)], self.version

    async def create(
        self, resource: Resource, namespace: str, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        self._ask("dry-run" if dry_run else "create", resource, body)
        if dry_run:
            return copied(body)
        name = body["metadata"]["name"]
        if (resource.plural, namespace, name) in self.objects:
            raise AlreadyExistsError(409, "AlreadyExists", f'{resource.plural} "{name}" already exists')
        return copied(self.add(resource, body))

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, operations: list[JsonObject]
    ) -> JsonObject:
        self._ask("patch-status", resource, {"operations": operations})
        body = await self.get(resource, namespace, name)
        try:
            patched: JsonObject = jsonpatch.apply_patch(body, operations)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise InvalidError(422, "Invalid", str(error)) from error
        self._same_version(body, patched)
        return copied(self._store(resource, {**body, "status": patched.get("status")}, "MODIFIED"))

    async def merge(self, resource: Resource, namespace: str, name: str, body: JsonObject) -> JsonObject:
        self._ask("merge", resource, body)
        old = await self.get(resource, namespace, name)
        merged = _merged(old, body)
        self._same_version(old, merged)
        if merged["metadata"].get("deletionTimestamp") and not merged["metadata"].get("finalizers"):
            self.remove(resource, namespace, name)
            return merged
        return copied(self._store(resource, merged, "MODIFIED"))

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        self._ask("delete", resource, {"name": name, "gracePeriodSeconds": grace_seconds})
        body = self.objects.get((resource.plural, namespace, name))
        if body is not None and uid == body["metadata"]["uid"]:
            self.remove(resource, namespace, name)

    async def delete_all(self, resource: Resource, namespace: str, *, selector: str) -> None:
        self._ask("deletecollection", resource, {"selector": selector})
        for body in self.all(resource):
            if body["metadata"]["namespace"] == namespace and selected(selector, body):
                self.remove(resource, namespace, body["metadata"]["name"])

    async def pod_log(self, namespace: str, pod: str, container: str, *, lines: int, limit: int) -> str:
        self._ask("log", PODS, {})
        if (pod, container) not in self.logs:
            raise NotFoundError(404, "NotFound", f'pods "{pod}" not found')
        return self.logs[pod, container]

    async def whole_pod_log(self, namespace: str, pod: str, container: str, *, limit: int) -> bytes:
        return (await self.pod_log(namespace, pod, container, lines=0, limit=limit)).encode()

    async def watch(
        self, resource: Resource, namespace: str | None, *, since: str, selector: str, fields: str, accept: str
    ) -> AsyncIterator[tuple[str, JsonObject]]:
        self._ask("watch", resource, {})
        queue: asyncio.Queue[tuple[str, JsonObject] | ApiError | None] = asyncio.Queue()
        self._watches.append((resource.plural, queue))
        while True:
            event = await queue.get()
            if event is None:
                return
            if isinstance(event, ApiError):
                raise event
            if namespace in {None, event[1]["metadata"].get("namespace")}:
                yield event

    def tell(self, resource: Resource, type_: str, body: JsonObject) -> None:
        """Send an event as it is, whatever is stored."""
        self._tell(resource, type_, body)

    def _ask(self, verb: str, resource: Resource, body: JsonObject) -> None:
        asked = f"{verb} {resource.plural}"
        self.requests[asked] += 1
        objection = self.objections.get(asked)
        error = objection(body) if objection else None
        if error is not None:
            raise error

    def _store(self, resource: Resource, body: JsonObject, type_: str) -> JsonObject:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self.objects[self._place(resource, body)] = body
        self._tell(resource, type_, body)
        return body

    def _tell(self, resource: Resource, type_: str, body: JsonObject) -> None:
        for plural, queue in self._watches:
            if plural == resource.plural:
                queue.put_nowait((type_, copied(body)))

    @staticmethod
    def _place(resource: Resource, body: JsonObject) -> Place:
        return resource.plural, body["metadata"].get("namespace", ""), body["metadata"]["name"]

    @staticmethod
    def _same_version(body: JsonObject, patched: JsonObject) -> None:
        if patched["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "the object has been modified")


def selected(selector: str, body: JsonObject) -> bool:
    """Return whether the labels are what a selector of equalities asks for."""
    labels = body["metadata"].get("labels") or {}
    return all(
        labels.get(key) == value for key, _, value in (item.partition("=") for item in selector.split(",") if item)
    )


def _merged(old: JsonObject, patch: JsonObject) -> JsonObject:
    result = dict(old)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def catch_up(store: ObjectStore, bodies: Iterable[JsonObject]) -> None:
    """Have a store know these objects and no others, as after a list."""
    there = {key_of(body): body for body in bodies}
    for body in store:
        if key_of(body) not in there:
            store.remove(key_of(body))
    for body in there.values():
        store.put(body)


class World:
    """An API server, and an operator's view of it."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes()
        self.cluster = self.new_view()

    def new_view(self) -> Cluster:
        """Return what an operator that has just started knows: everything that is there."""
        self.cluster = Cluster(self.kubernetes, EventRecorder(self.kubernetes, "test"))
        self.see()
        return self.cluster

    def see(self) -> None:
        """Have all watches catch up."""
        for resource, store in self._stores():
            bodies = self.kubernetes.all(resource)
            catch_up(store, ({"apiVersion": resource.api_version, "kind": resource.kind, **body} for body in bodies))

    def apply(self, resource: Resource, body: JsonObject) -> Key:
        """Create or replace an object, and have the operator see it."""
        self.kubernetes.add(resource, body)
        self.see()
        return key_of(body)

    def events(self) -> list[tuple[str, str]]:
        """Return type and reason of each Event, in their order."""
        written = self.kubernetes.all(EVENTS)
        written.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["type"], event["reason"]) for event in written]

    def condition(self, resource: Resource, name: str, type_: str) -> Any:
        """Return a condition of an object as the API server has it, or None."""
        status = self.kubernetes.one(resource, name).get("status") or {}
        return next((item for item in status.get("conditions", ()) if item["type"] == type_), None)

    def _stores(self) -> list[tuple[Resource, ObjectStore]]:
        cluster = self.cluster
        return [
            (STACK_COMPONENTS, cluster.components),
            (STACKS, cluster.stacks),
            (PIPELINES, cluster.pipelines),
            (PIPELINE_SCHEDULES, cluster.schedules),
            (PIPELINE_RUNS, cluster.runs),
            (JOBS, cluster.jobs),
            (PODS, cluster.pods),
            (SECRETS, cluster.secrets),
        ]
