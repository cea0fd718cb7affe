"""Objects of one kind as last seen, so that nothing that is watched is ever listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TypeVar

from cairn.api.base import JsonObject

Key = tuple[str, str]
"""Namespace and name."""


REMEMBERED_AS_GONE = 10_000
"""How many of the objects that went last are known to be gone: many more than can go while one request is answered."""

IndexKey = TypeVar("IndexKey", str, tuple[str, str])


def key_of(body: JsonObject) -> Key:
    """Return the namespace and name of an object."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


class ObjectStore:
    """The newest version seen of each object, findable by key, namespace, and one index."""

    def __init__(self, index: Callable[[JsonObject], str | None] = lambda _: None) -> None:
        self._objects: dict[Key, JsonObject] = {}
        self._namespaces: dict[str, set[Key]] = defaultdict(set)
        self._index: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._index_of = index
        self._gone: dict[str, int] = {}
        """The last version, by UID, of the objects that went last, oldest first."""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[JsonObject]:
        return iter(list(self._objects.values()))

    def get(self, key: Key) -> JsonObject | None:
        """Return the object, or None."""
        return self._objects.get(key)

    def in_namespace(self, namespace: str) -> list[JsonObject]:
        """Return the objects of a namespace, by name."""
        return [self._objects[key] for key in sorted(self._namespaces.get(namespace, ()))]

    def indexed(self, namespace: str, value: str) -> list[JsonObject]:
        """Return the objects of a namespace that the index files under a value, by name."""
        return [self._objects[key] for key in sorted(self._index.get((namespace, value), ()))]

    def put(self, body: JsonObject) -> bool:
        """Keep the object unless a newer one is there; return whether it was kept.

        Resource versions of one kind are compared as numbers, as KEP-5504 makes official; so what is still told of an
        object that was replaced by another of the same name does not hide that one. Nor does an object that is gone
        come back with the answer to a request, which its deletion may have overtaken.
        """
        key, version = key_of(body), as_number(body["metadata"].get("resourceVersion"))
        if version <= self._gone.get(body["metadata"].get("uid", ""), -1):
            return False
        old = self._objects.get(key)
        if old is not None:
            if version < as_number(old["metadata"].get("resourceVersion")):
                return False
            self.remove(key)
        self._objects[key] = body
        self._namespaces[key[0]].add(key)
        value = self._index_of(body)
        if value is not None:
            self._index[key[0], value].add(key)
        return True

    def remove(self, key: Key) -> JsonObject | None:
        """Forget the object and return it."""
        body = self._objects.pop(key, None)
        if body is None:
            return None
        _discard(self._namespaces, key[0], key)
        value = self._index_of(body)
        if value is not None:
            _discard(self._index, (key[0], value), key)
        return body

    def forget(self, body: JsonObject) -> None:
        """Forget the object for good, unless another of the same name has taken its place."""
        uid = body["metadata"].get("uid")
        if uid is not None:
            self._gone[uid] = as_number(body["metadata"].get("resourceVersion"))
        if len(self._gone) > REMEMBERED_AS_GONE:
            del self._gone[next(iter(self._gone))]
        kept = self._objects.get(key_of(body))
        if kept is not None and kept["metadata"].get("uid") == uid:
            self.remove(key_of(body))


def _discard(sets: dict[IndexKey, set[Key]], at: IndexKey, key: Key) -> None:
    sets[at].discard(key)
    if not sets[at]:
        del sets[at]


def as_number(resource_version: str | None) -> int:
    """Return the resource version as a number, 0 where it is none."""
    return int(resource_version) if resource_version and resource_version.isdigit() else 0
