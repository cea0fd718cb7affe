"""The CRDs' schemas, walked: what a field may hold, and values just inside and just outside of that."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from cairn.api.base import JsonObject

Part = str | int
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
WRONG: Mapping[str, Sequence[Any]] = {
    "string": (7, True, ["x"]),
    "integer": ("7", 1.5, True),
    "boolean": ("true", 1),
    "object": ("x", ["x"]),
    "array": ("x", {}),
    INT_OR_STRING: (0.5, True),
}
"""Values that are not of a type."""


@dataclass(frozen=True)
class Place:
    """A field that an object has: `name` without indexes and keys, `path` with them."""

    name: str
    path: tuple[Part, ...]
    schema: JsonObject
    manifest: JsonObject

    @property
    def value(self) -> Any:
        """What the object has there."""
        found: Any = self.manifest
        for part in self.path:
            found = found[part]
        return found

    def having(self, value: Any) -> JsonObject:
        """Return the object with another value there."""
        return self._changed(self.path, value)

    def having_item(self, key: Part, value: Any) -> JsonObject:
        """Return the object with another value for one item of the one there."""
        return self._changed((*self.path, key), value)

    def without(self, key: str) -> JsonObject:
        """Return the object without one of the fields there."""
        return self.having({name: value for name, value in self.value.items() if name != key})

    def _changed(self, path: tuple[Part, ...], value: Any) -> JsonObject:
        manifest = deepcopy(self.manifest)
        target: Any = manifest
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
        return manifest


@dataclass(frozen=True)
class Law:
    """What one bound of one field says, as objects that meet it barely and objects that barely do not."""

    name: str
    field: str
    words: str
    accepted: tuple[JsonObject, ...] = ()
    refused: tuple[JsonObject, ...] = ()


def spec_schema(crd: JsonObject) -> JsonObject:
    """Return the schema of the kind's spec."""
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def status_schema(crd: JsonObject) -> JsonObject:
    """Return the schema of the kind's status."""
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


def nodes(schema: JsonObject, name: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield every schema in a schema by the name of its field, itself first."""
    yield name, schema
    for key, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{name}.{key}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{name}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{name}{{}}")


def places(crd: JsonObject, manifests: Sequence[JsonObject]) -> dict[str, Place]:
    """Return a place of every field of the spec that one of the objects has."""
    found: dict[str, Place] = {}
    for manifest in manifests:
        if manifest["kind"] == crd["spec"]["names"]["kind"]:
            for place in _places(Place("spec", ("spec",), spec_schema(crd), manifest)):
                found.setdefault(place.name, place)
    return found


def _places(place: Place) -> Iterator[Place]:
    yield place
    schema, value, manifest = place.schema, place.value, place.manifest
    if isinstance(value, dict):
        for key in cast("dict[str, Any]", value):
            if key in schema.get("properties", {}):
                inner = schema["properties"][key]
                yield from _places(Place(f"{place.name}.{key}", (*place.path, key), inner, manifest))
            elif "additionalProperties" in schema:
                inner = schema["additionalProperties"]
                yield from _places(Place(f"{place.name}{{}}", (*place.path, key), inner, manifest))
    if isinstance(value, list) and "items" in schema:
        for index in range(len(cast("list[Any]", value))):
            yield from _places(Place(f"{place.name}[]", (*place.path, index), schema["items"], manifest))


def laws(place: Place) -> Iterator[Law]:
    """Yield what the schema says of the field."""
    field = written(place.path)
    yield from _of_type(place, field)
    yield from _of_text(place, field)
    yield from _of_number(place, field)
    yield from _of_list(place, field)
    yield from _of_object(place, field)


def written(path: tuple[Part, ...]) -> str:
    """Return the path as the API server writes it, such as `spec.steps[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _of_type(place: Place, field: str) -> Iterator[Law]:
    type_ = INT_OR_STRING if place.schema.get(INT_OR_STRING) else place.schema.get("type")
    if type_:
        yield Law("type", field, "must be of type", refused=tuple(place.having(value) for value in WRONG[type_]))
    if "enum" in place.schema:
        options: list[str] = place.schema["enum"]
        yield Law(
            "enum",
            field,
            ", ".join(f'"{option}"' for option in options),
            accepted=tuple(place.having(option) for option in options),
            refused=(place.having(options[0].lower()), place.having("")),
        )


def _of_text(place: Place, field: str) -> Iterator[Law]:
    schema, value = place.schema, place.value
    if not isinstance(value, str):
        return
    pattern: str = schema.get("pattern", "")
    if "maxLength" in schema:
        limit: int = schema["maxLength"]
        yield Law(
            "maxLength",
            field,
            f"may not be more than {limit} bytes",
            accepted=(place.having(_stretched(value, limit, pattern)),),
            refused=(place.having(_stretched(value, limit + 1, pattern)),),
        )
    if "minLength" in schema:
        least: int = schema["minLength"]
        shortest = _shrunk(value, least, pattern)
        yield Law(
            "minLength",
            field,
            f"should be at least {least} chars long",
            accepted=(place.having(shortest),),
            refused=(place.having(shortest[: least - 1]),),
        )
    if pattern:
        wrong = [f"{value}!", f"!{value}", f"{value}\n", f"{value}é", f" {value}"]
        yield Law(
            "pattern",
            field,
            "should match",
            refused=tuple(place.having(text) for text in wrong if not _fits(text, pattern)),
        )


def _of_number(place: Place, field: str) -> Iterator[Law]:
    schema = place.schema
    for bound, step, words in (
        ("minimum", -1, "should be greater than or equal to"),
        ("maximum", 1, "should be less than or equal to"),
    ):
        if bound in schema:
            limit: int = schema[bound]
            yield Law(
                bound,
                field,
                f"{words} {limit}",
                accepted=(place.having(limit),),
                refused=(place.having(limit + step),),
            )


def _of_list(place: Place, field: str) -> Iterator[Law]:
    schema, value = place.schema, place.value
    if schema.get("type") != "array":
        return
    keys: list[str] = schema.get("x-kubernetes-list-map-keys", [])
    if "maxItems" in schema:
        limit: int = schema["maxItems"]
        yield Law(
            "maxItems",
            field,
            f"must have at most {limit} items",
            accepted=(place.having(_items(value, limit, keys)),),
            refused=(place.having(_items(value, limit + 1, keys)),),
        )
    if "minItems" in schema:
        least: int = schema["minItems"]
        yield Law(
            "minItems",
            field,
            f"should have at least {least} items",
            accepted=(place.having(_items(value, least, keys)),),
            refused=(place.having(_items(value, least - 1, keys)),),
        )
    if schema.get("x-kubernetes-list-type") in {"map", "set"}:
        twice = [*value, value[0]]
        yield Law("unique", f"{field}[{len(value)}]", "Duplicate value", refused=(place.having(twice),))


def _of_object(place: Place, field: str) -> Iterator[Law]:
    schema, value = place.schema, place.value
    if schema.get("type") != "object":
        return
    if "maxProperties" in schema:
        limit: int = schema["maxProperties"]
        sample = next(iter(value.values()))
        yield Law(
            "maxProperties",
            field,
            f"must have at most {limit} items",
            accepted=(place.having({f"k{index}": sample for index in range(limit)}),),
            refused=(place.having({f"k{index}": sample for index in range(limit + 1)}),),
        )
    for name in schema.get("required", []):
        yield Law(f"requires {name}", f"{field}.{name}", "Required value", refused=(place.without(name),))
    if "properties" in schema and not schema.get(PRESERVE):
        yield Law(
            "unknown",
            f"{field}.unknownField",
            "unknown field",
            refused=(place.having_item("unknownField", "x"),),
        )


def _items(value: list[Any], count: int, keys: Sequence[str]) -> list[Any]:
    """Return a list of so many items, each like the smallest of these but for its key."""
    smallest = min(value, key=lambda item: len(json.dumps(item)))
    if keys:
        return [{**smallest, **{key: f"{smallest[key]}{index}" for key in keys}} for index in range(count)]
    if isinstance(smallest, str):
        return [f"{smallest}{index}" for index in range(count)]
    return [smallest] * count


def _fits(text: str, pattern: str) -> bool:
    # Python's `$` allows a line break after the end; the API server's does not
    return re.search(pattern.replace("$", r"\Z"), text) is not None


def _stretched(value: str, length: int, pattern: str) -> str:
    """Return a text of that length that still fits the pattern: one character is repeated, the last that can be."""
    for index in reversed(range(len(value))):
        text = value[:index] + value[index] * (length - len(value)) + value[index:]
        if _fits(text, pattern):
            return text
    raise ValueError(f"nothing of {length} characters like {value} fits {pattern}")


def _shrunk(value: str, length: int, pattern: str) -> str:
    """Return a text of that length, or of the least above it that fits the pattern: characters are taken away."""
    while len(value) > length:
        shorter = (value[:index] + value[index + 1 :] for index in reversed(range(len(value))))
        fitting = next((text for text in shorter if _fits(text, pattern)), None)
        if fitting is None:
            break
        value = fitting
    return value
