"""Deletion of objects, and the finalizer that has it wait.

See https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/.
"""

from __future__ import annotations

from cairn.api.base import FINALIZER, JsonObject


def is_being_deleted(body: JsonObject) -> bool:
    """Return whether somebody has asked for the deletion of an object."""
    return "deletionTimestamp" in body["metadata"]


def is_held(body: JsonObject) -> bool:
    """Return whether an object's deletion waits for the operator."""
    return FINALIZER in _finalizers(body)


def finalizers_with_own(body: JsonObject) -> list[str]:
    """Return an object's finalizers, the operator's among them."""
    return [*finalizers_without_own(body), FINALIZER]


def finalizers_without_own(body: JsonObject) -> list[str]:
    """Return those of an object's finalizers that are not the operator's."""
    return [finalizer for finalizer in _finalizers(body) if finalizer != FINALIZER]


def _finalizers(body: JsonObject) -> list[str]:
    return body["metadata"].get("finalizers") or []
