"""CustomResourceDefinitions from the pydantic models.

The schemas are structural (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema):
references are written out, `X | None` becomes an optional X, and what a structural schema forbids is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cairn.api.base import GROUP, VERSION, JsonObject, Model, Rule, rules

KEPT = frozenset(
    {
        "type", "description", "default", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum",
        "minItems", "maxItems", "minProperties", "maxProperties", "required", "anyOf", "x-kubernetes-validations",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    }
)  # fmt: skip

UNSEEN = {"observedGeneration": 0}
"""Status of an object that the operator has not looked at: what has none would be ready for those who go by conditions."""


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False

    def to_json(self) -> JsonObject:
        """Return the item of `additionalPrinterColumns`; wide ones are shown with `-o wide` only."""
        column: JsonObject = {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.json_path,
            "description": self.description,
        }
        return {**column, "priority": 1} if self.wide else column


@dataclass(frozen=True)
class Kind:
    """A kind, from which its CRD follows."""

    kind: str
    plural: str
    short_names: Sequence[str]
    description: str
    spec: type[Model]
    status: type[Model]
    columns: Sequence[Column] = field(default_factory=tuple)
    name_rule: Rule | None = None
    """What the API server checks of the object's name besides that it is one."""

    def to_crd(self) -> JsonObject:
        """Return the CustomResourceDefinition."""
        schema: JsonObject = {
            "type": "object",
            "description": self.description,
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
                "kind": {"type": "string", "description": self.kind},
                "metadata": {"type": "object", **self._metadata()},
                "spec": structural_schema(self.spec),
                "status": {**structural_schema(self.status), "default": UNSEEN},
            },
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": self.kind.lower(),
                    # the API server drops an empty list, which tools that compare with the file take for drift
                    **({"shortNames": list(self.short_names)} if self.short_names else {}),
                    "categories": ["cairn"],
                },
                "versions": [
                    {
                        "name": VERSION,
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "additionalPrinterColumns": [column.to_json() for column in self.columns],
                        "schema": {"openAPIV3Schema": schema},
                    }
                ],
            },
        }

    def _metadata(self) -> JsonObject:
        """Return what the schema says of `metadata`: the API server allows nothing but of names."""
        if self.name_rule is None:
            return {}
        name = {"type": "string", "description": "Name of the object.", "maxLength": 253, **rules(self.name_rule)}
        return {"properties": {"name": name}}


def structural_schema(model: type[Model]) -> JsonObject:
    """Return the structural schema of a model.

    Raises:
        TypeError: the model has something that a structural schema cannot express.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}), model.__name__)


def _convert(node: JsonObject, definitions: Mapping[str, JsonObject], path: str) -> JsonObject:
    node = _resolve(node, definitions)
    node = _without_null(node, definitions, path)
    if node.get("type") == "object" and "title" in node and "properties" in node:
        node = {**node, "description": _unwrap(node.get("description", ""))}
    result = {key: value for key, value in node.items() if key in KEPT}
    if "anyOf" in result and not result.get("x-kubernetes-int-or-string"):
        raise TypeError(f"{path}: a union has no structural schema")
    if result.get("type") == "array" and isinstance(result.get("default"), list) and not result["default"]:
        del result["default"]  # an absent list says the same with less
    if "items" in node:
        result["items"] = _convert(node["items"], definitions, f"{path}[]")
    if "properties" in node:
        result["properties"] = {
            name: _convert(value, definitions, f"{path}.{name}") for name, value in node["properties"].items()
        }
    additional = node.get("additionalProperties")
    if isinstance(additional, dict) and not result.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = _convert(cast(JsonObject, additional), definitions, f"{path}{{}}")
    if "description" in result:
        result["description"] = _unwrap(result["description"])
    return dict(sorted(result.items(), key=lambda item: (item[0] != "description", item[0])))


def _resolve(node: JsonObject, definitions: Mapping[str, JsonObject]) -> JsonObject:
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].rsplit("/", 1)[1]]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _without_null(node: JsonObject, definitions: Mapping[str, JsonObject], path: str) -> JsonObject:
    options: list[Any] = node.get("anyOf", [])
    if {"type": "null"} not in options:
        return node
    kept = [option for option in options if option != {"type": "null"}]
    if len(kept) != 1:
        raise TypeError(f"{path}: a union has no structural schema")
    rest = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
    inner = _without_null(_resolve(kept[0], definitions), definitions, path)
    merged = {**inner, **rest}
    both = [*inner.get("x-kubernetes-validations", []), *rest.get("x-kubernetes-validations", [])]
    return {**merged, "x-kubernetes-validations": both} if both else merged


def _unwrap(text: str) -> str:
    return " ".join(text.split())
