"""Everything the reconcilers see and touch of the cluster, built once at startup and passed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import jsonpatch

from cairn.api.base import JsonObject
from cairn.api.deletion import finalizers_with_own, finalizers_without_own, is_held
from cairn.api.labels import INSTANCE_LABEL, RUN_LABEL
from cairn.clients.condition_events import Told, changes
from cairn.clients.events import EventRecorder
from cairn.clients.kubernetes import Kubernetes, NotFoundError, Resource
from cairn.clients.store import Key, ObjectStore, key_of

MOST_OPERATIONS_OF_AN_ITEM = 3
"""The API server takes 10,000 operations in a patch; a run may have 1,500 steps."""


def _run_of(body: JsonObject) -> str | None:
    return (body["metadata"].get("labels") or {}).get(RUN_LABEL)


def _release_of(body: JsonObject) -> str | None:
    return (body["metadata"].get("labels") or {}).get(INSTANCE_LABEL)


def stack_of(run: JsonObject) -> str | None:
    """Return the name of the Stack that a run has started on; None for the built-in one, which is no object."""
    stack = (run.get("status") or {}).get("stack") or {}
    return None if stack.get("builtIn") else stack.get("name")


@dataclass
class Cluster:
    """The connection, and what is known without asking."""

    kubernetes: Kubernetes
    events: EventRecorder
    components: ObjectStore = field(default_factory=ObjectStore)
    stacks: ObjectStore = field(default_factory=ObjectStore)
    schedules: ObjectStore = field(default_factory=ObjectStore)
    pipelines: ObjectStore = field(default_factory=ObjectStore)
    runs: ObjectStore = field(default_factory=lambda: ObjectStore(stack_of))
    """Findable by the stack that they run on."""
    jobs: ObjectStore = field(default_factory=lambda: ObjectStore(_run_of))
    """Those of runs, findable by the label of the run."""
    pods: ObjectStore = field(default_factory=lambda: ObjectStore(_run_of))
    """Those of runs, findable by the label of the run."""
    release_pods: ObjectStore = field(default_factory=lambda: ObjectStore(_release_of))
    """Those of what Helm installs for components, findable by the name of the release."""
    secrets: ObjectStore = field(default_factory=ObjectStore)
    """Metadata only."""

    async def still_there(self, resource: Resource, store: ObjectStore, key: Key) -> bool:
        """Ask the API server whether an object that is known is still there; forget it if not.

        kopf does not tell of objects that vanish while its watch is broken (docs/decisions/0002).
        """
        try:
            await self.kubernetes.get(resource, *key)
        except NotFoundError:
            store.remove(key)
            return False
        return True

    async def write_status(
        self,
        resource: Resource,
        store: ObjectStore,
        body: JsonObject,
        status: JsonObject,
        *,
        tell: Iterable[Told],
        confirm: bool = False,
    ) -> JsonObject | None:
        """Write what has changed of an object's status, and return the object as it is then; None if it is gone.

        What has changed of the conditions `tell` is told in Events.

        Only the difference to what was read goes over the wire, bound to the version that was read. `confirm` asks the API
        server also when nothing has changed: is that version still the newest?

        Raises:
            ConflictError: the object has changed since; the next reconcile sees the newer one.
        """
        old = body.get("status") or {}
        operations = list(_operations(old, status))
        if not operations and not confirm:
            return body
        if "status" not in body:
            operations = [{"op": "add", "path": "/status", "value": status}]
        metadata = body["metadata"]
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
        try:
            written = await self.kubernetes.patch_status(
                resource, metadata["namespace"], metadata["name"], [version, *operations]
            )
        except NotFoundError:
            store.remove(key_of(body))
            return None
        kept = _kept(store, written)
        for event in changes(old, status, tell):
            await self.events.record(body, event.type, event.reason, event.action, event.note)
        return kept

    async def hold(self, resource: Resource, store: ObjectStore, body: JsonObject) -> JsonObject | None:
        """Have an object's deletion wait for the operator; return the object as it is then, None if it is gone.

        Raises:
            ConflictError: the object has changed since.
        """
        if is_held(body):
            return body
        return await self._set_finalizers(resource, store, body, finalizers_with_own(body))

    async def let_go(self, resource: Resource, store: ObjectStore, body: JsonObject) -> None:
        """Let an object's deletion go on.

        Raises:
            ConflictError: the object has changed since.
        """
        if is_held(body):
            await self._set_finalizers(resource, store, body, finalizers_without_own(body))

    async def _set_finalizers(
        self, resource: Resource, store: ObjectStore, body: JsonObject, finalizers: list[str]
    ) -> JsonObject | None:
        metadata = body["metadata"]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        try:
            written = await self.kubernetes.merge(resource, metadata["namespace"], metadata["name"], patch)
        except NotFoundError:
            store.remove(key_of(body))
            return None
        return _kept(store, written)


def _operations(old: JsonObject, new: JsonObject) -> Iterator[JsonObject]:
    """Yield the JSON Patch from one status to another; a list of as many items as before is compared item by item.

    A run may have a thousand steps, of which one has changed.
    """
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                if one != other:
                    place = jsonpatch.JsonPointer.from_parts(("status", key, index)).path
                    yield from _patch(one, other, place)
        else:
            was, is_now = ({key: part[key]} if key in part else {} for part in (old, new))
            yield from jsonpatch.make_patch({"status": was}, {"status": is_now}).patch


def _patch(old: object, new: object, path: str) -> Iterator[JsonObject]:
    """Yield the patch from one value at a path to another."""
    operations: list[JsonObject] = jsonpatch.make_patch(old, new).patch
    if len(operations) > MOST_OPERATIONS_OF_AN_ITEM:
        operations = [{"op": "replace", "path": "", "value": new}]
    for operation in operations:
        yield {**operation, **{part: path + operation[part] for part in ("path", "from") if part in operation}}


def _kept(store: ObjectStore, written: JsonObject) -> JsonObject:
    """Return an object as it was written, and keep it until the watch brings it too."""
    written["metadata"].pop("managedFields", None)
    store.put(written)
    return written
