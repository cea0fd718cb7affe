"""Which Stack of a namespace runs use that name none."""

from __future__ import annotations

from collections.abc import Sequence

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.stack import DEFAULT_STACK_ANNOTATION


def default_stack(stacks: Sequence[JsonObject]) -> JsonObject | None:
    """Return the namespace's default Stack: of several, the newest; of several as new, the first by name."""
    marked = [stack for stack in stacks if is_default(stack) and not is_being_deleted(stack)]
    by_name = sorted(marked, key=lambda stack: stack["metadata"]["name"])
    return max(by_name, key=lambda stack: stack["metadata"].get("creationTimestamp", ""), default=None)


def is_default(stack: JsonObject) -> bool:
    """Return whether the Stack asks to be the namespace's default."""
    annotations = stack["metadata"].get("annotations") or {}
    return annotations.get(DEFAULT_STACK_ANNOTATION) == "true"


def default_contest(body: JsonObject, stacks: Sequence[JsonObject]) -> tuple[bool, str | None] | None:
    """Return whether a Stack that asks to be the default is it, and what to do where several ask; None if it does not ask."""
    if not is_default(body):
        return None
    own = body["metadata"]["name"]
    others = {stack["metadata"]["name"] for stack in stacks if is_default(stack)} - {own}
    winner = default_stack(stacks)
    name = winner["metadata"]["name"] if winner else own
    if not others:
        return name == own, None
    return name == own, (
        f"Several Stacks have the annotation {DEFAULT_STACK_ANNOTATION}: {', '.join(sorted({*others, own}))}. "
        f"The newest, {name}, is the default; take the annotation off the others."
    )
