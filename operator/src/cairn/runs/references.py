"""References in a step's command, arguments and environment: `$(params.x)`, `$(run.name)`, `$(steps.s.results.r)`, `$(item.value)`.

Kubernetes itself replaces `$(NAME)` by environment variables and turns `$$` into `$` when a container starts
(https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/). So what does not
belong to Cairn is left to it, and each value that is filled in here has its `$` doubled. In `$(cat $(params.file))`,
Kubernetes would take `cat …` for the name of a variable and leave it as it is, the doubled `$` too; so the outer `$(` is
escaped.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

LONGEST_TEXT = 100_000
"""Bytes: Linux takes no argument, and no variable, of more than 128 KiB."""
MOST_BYTES_OF_A_CONTAINER = 1_000_000
"""Bytes of all its texts: the API server keeps no pod of more than 1.5 MiB."""
_OURS = r"(?:params|run|steps|item)\.[^()]*"
ITEM_REFERENCES = frozenset({"item.value", "item.index"})
_NAME = re.compile(_OURS)
_REFERENCE = re.compile(rf"\$\$|\$\(({_OURS})\)|\$\(")


@dataclass(frozen=True)
class Reference:
    """What one `$(…)` asks for."""

    text: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The words between the dots."""
        return tuple(self.text.split("."))

    @property
    def parameter(self) -> str | None:
        """Name of the parameter, for `params.<name>`."""
        return self.parts[1] if self.parts[0] == "params" and len(self.parts) == 2 else None

    @property
    def result(self) -> tuple[str, str] | None:
        """Step and result, for `steps.<step>.results.<result>`."""
        match self.parts:
            case ("steps", step, "results", result):
                return step, result
            case _:
                return None


@dataclass(frozen=True)
class Values:
    """What references stand for."""

    parameters: Mapping[str, str]
    run_name: str
    run_uid: str
    results: Mapping[tuple[str, str], str]
    item: tuple[str, int] | None = None
    """Value and index of the item, in an instance of a step with forEach."""

    def of_item(self, item: tuple[str, int] | None) -> Values:
        """Return the values for the instance of a step that has this item."""
        return dataclasses.replace(self, item=item) if item is not None else self

    def value_of(self, reference: Reference) -> str:
        """Return the value; raises KeyError for a reference that stands for nothing, or for nothing yet."""
        if reference.parameter is not None:
            return self.parameters[reference.parameter]
        if reference.result is not None:
            return self.results[reference.result]
        value, index = self.item or ("", 0)
        own = {"item.value": value, "item.index": str(index)} if self.item is not None else {}
        return {"run.name": self.run_name, "run.uid": self.run_uid, **own}[reference.text]


def references_in(text: str) -> Iterator[Reference]:
    """Yield the references of a text, leaving out those escaped as `$$(`."""
    for match in _REFERENCE.finditer(text):
        if match.group(1) is not None:
            yield Reference(match.group(1))


class TextsTooLargeError(ValueError):
    """A command, its arguments or its environment would be more than a container takes; the text says of what."""


class Replacement:
    """Replaces the references in the texts of one container, as far as that takes them."""

    def __init__(self, value_of: Callable[[Reference], str]) -> None:
        """Make it; `value_of` says what a reference stands for."""
        self._value_of = value_of
        self._room = MOST_BYTES_OF_A_CONTAINER

    def of(self, text: str) -> str:
        """Return the text with each reference replaced, ready for Kubernetes' own replacement.

        Raises:
            TextsTooLargeError: it would be too long, or all texts of the container together.
        """
        self.make_room_for(text)
        return replace(text, self._value_of)

    def make_room_for(self, text: str) -> None:
        """Count a text; raises TextsTooLargeError where that is too much, before anything is replaced."""
        size = len(text.encode()) + sum(len(self._value_of(found).encode()) for found in references_in(text))
        self._room -= size
        if size > LONGEST_TEXT:
            raise TextsTooLargeError(
                f"with its references replaced, a command, argument or variable has some {size} bytes, "
                f"of which Linux takes {LONGEST_TEXT}"
            )
        if self._room < 0:
            raise TextsTooLargeError(
                "with their references replaced, its command, arguments and variables together have more than the "
                f"{MOST_BYTES_OF_A_CONTAINER} bytes that a container can have"
            )


def replace(text: str, value_of: Callable[[Reference], str]) -> str:
    """Return the text with each reference replaced, ready for Kubernetes' own replacement."""
    encloses_reference = _enclosing(text)

    def one(match: re.Match[str]) -> str:
        if match.group(1) is not None:
            return literal(value_of(Reference(match.group(1))))
        encloses = match.group(0) == "$(" and encloses_reference(match.end())
        return literal("$") + "(" if encloses else match.group(0)

    return _REFERENCE.sub(one, text)


def _enclosing(text: str) -> Callable[[int], bool]:
    """Return what says of places, from left to right, whether the first `)` behind them is the end of a reference.

    There Kubernetes takes a variable's name to end. What was found behind one place holds for the next ones up to there.
    """
    end = inner = -1
    is_reference = False

    def encloses(start: int) -> bool:
        nonlocal end, inner, is_reference
        if end < start:
            found = text.find(")", start)
            end = found if found >= 0 else len(text)
            inner = text.rfind("$(", start, end) if found >= 0 else -1
            is_reference = inner >= 0 and _NAME.fullmatch(text, inner + 2, end) is not None
        return is_reference and inner >= start

    return encloses


def literal(text: str) -> str:
    """Return the text such that Kubernetes' own replacement gives it back unchanged."""
    return text.replace("$", "$$")


def unescaped(text: str) -> str:
    """Return the text that `literal` was given."""
    return text.replace("$$", "$")
