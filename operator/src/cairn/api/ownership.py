"""Which object another one was made for.

See https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/.
"""

from __future__ import annotations

from cairn.api.base import API_VERSION, JsonObject


def controller_reference(kind: str, name: str, uid: str) -> JsonObject:
    """Return the owner reference of what is made for one of Cairn's objects, and goes with it."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def controller_of(body: JsonObject) -> JsonObject | None:
    """Return the owner reference of what an object was made for, or None."""
    references = body["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)
