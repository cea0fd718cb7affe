"""What manifests and programs rely on of the CRDs, field by field, and what would break them.

`python -m tests.unit.api.contract` records it as it is now: at a release, and where a break is meant (docs/api-compatibility.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cairn.api.base import JsonObject
from cairn.kinds import kinds

RECORDED = Path(__file__).parent / "contract.yaml"

Contract = Mapping[str, JsonObject]
"""What is said of each field, by kind and path, such as `Stack spec.orchestratorRef.name`."""

KEPT = (
    "type",
    "format",
    "pattern",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
)
"""Said of a field once and for all."""
AT_MOST = ("maxLength", "maxItems", "maxProperties", "maximum")
AT_LEAST = ("minLength", "minItems", "minProperties", "minimum")


def contract() -> Contract:
    """Return the contract of the CRDs as the models make them now."""
    found: dict[str, JsonObject] = {}
    for kind in kinds():
        crd = kind.to_crd()["spec"]
        (version,) = crd["versions"]
        names = {name: crd["names"].get(name, []) for name in ("plural", "singular", "shortNames", "categories")}
        found[kind.kind] = {"group": crd["group"], "scope": crd["scope"], "version": version["name"], **names}
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        for part in ("metadata", "spec", "status"):
            for path, said in _fields(properties[part], part, required=part == "spec"):
                found[f"{kind.kind} {path}"] = said
    return found


def breaks(before: Contract, after: Contract) -> Iterator[str]:
    """Yield what of one contract another breaks."""
    for path, old in before.items():
        if path not in after:
            yield f"{path}: was removed"
        else:
            yield from (f"{path}: {problem}" for problem in _breaks_of_field(old, after[path]))
    for path, new in after.items():
        if path not in before and new.get("required") and _parent(path) in before:
            yield f"{path}: is new and required"


def recorded() -> Contract:
    """Return the contract as it was recorded last."""
    return yaml.safe_load(RECORDED.read_text())


def _fields(schema: JsonObject, path: str, *, required: bool) -> Iterator[tuple[str, JsonObject]]:
    said: JsonObject = {key: schema[key] for key in (*KEPT, *AT_MOST, *AT_LEAST, "enum", "default") if key in schema}
    if required:
        said["required"] = True
    if rules := [rule["rule"] for rule in schema.get("x-kubernetes-validations", ())]:
        said["rules"] = rules
    yield path, said
    for name, inner in schema.get("properties", {}).items():
        yield from _fields(inner, f"{path}.{name}", required=name in schema.get("required", ()))
    if "items" in schema:
        yield from _fields(schema["items"], f"{path}[]", required=False)
    if "additionalProperties" in schema:
        yield from _fields(schema["additionalProperties"], f"{path}{{}}", required=False)


def _breaks_of_field(old: JsonObject, new: JsonObject) -> Iterator[str]:
    for key in ("group", "scope", "version", "plural", "singular", *KEPT, "default"):
        if old.get(key) != new.get(key):
            yield f"{key} was {_told(old, key)} and is {_told(new, key)}"
    yield from _lost(old, new)
    yield from _narrower(old, new)
    if new.get("required") and not old.get("required"):
        yield "is required now"
    for rule in new.get("rules", ()):
        if rule not in old.get("rules", ()):
            yield f"has a new rule: {rule}"


def _lost(old: JsonObject, new: JsonObject) -> Iterator[str]:
    for key in ("shortNames", "categories", "enum"):
        if gone := [item for item in old.get(key, ()) if item not in new.get(key, old[key])]:
            yield f"{key} has no {', '.join(map(str, gone))} any more"
    if "enum" in new and "enum" not in old:
        yield f"may only be one of {', '.join(new['enum'])} now"


def _narrower(old: JsonObject, new: JsonObject) -> Iterator[str]:
    at_most = (key for key in AT_MOST if key in new and (key not in old or new[key] < old[key]))
    at_least = (key for key in AT_LEAST if key in new and new[key] > old.get(key, 0))
    for key in (*at_most, *at_least):
        yield f"{key} was {_told(old, key)} and is {new[key]}"


def _told(said: JsonObject, key: str) -> Any:
    return said.get(key, "not given")


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


if __name__ == "__main__":
    RECORDED.write_text(
        "# What the API promises, recorded by `make contract`; see docs/api-compatibility.md.\n"
        + yaml.safe_dump(dict(contract()), sort_keys=True, width=200)
    )
