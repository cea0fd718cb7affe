"""The base of every API model, and the field types that several kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

GROUP = "cairn.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/finalizer"
"""Keeps a component or a Stack from going while it is needed, and a pod until its end is recorded."""

JsonObject = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON carries it."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class Model(BaseModel):
    """An API object or a part of one: camelCase on the wire, unknown fields refused, immutable in memory."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> JsonObject:
        """Return the object as it goes over the wire: aliases, and no absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def first_problem(error: ValidationError) -> str:
    """Return the first thing that a model refused, as `field: message`; the message alone where that is the whole."""
    problem = error.errors()[0]
    message = "must be an object" if problem["type"] == "model_type" else problem["msg"]
    return ": ".join(filter(None, (".".join(str(part) for part in problem["loc"]), message)))


@dataclass(frozen=True)
class Rule:
    """A CEL rule that the API server evaluates, with the message that it answers when the rule does not hold.

    Source: https://kubernetes.io/docs/reference/using-api/cel/
    """

    rule: str
    message: str
    field: str | None = None
    """The field of the object that the message is about, where the rule is the object's."""

    def to_json(self) -> JsonObject:
        """Return the item of `x-kubernetes-validations`."""
        item: JsonObject = {"rule": self.rule, "message": self.message}
        return item if self.field is None else {**item, "fieldPath": f".{self.field}"}


def consists_of(characters: str, message: str, *, not_at_ends: str = "") -> Rule:
    """Return a rule that tells people what a field's `pattern` tells programs; the API server answers both.

    It is simpler than the pattern, since the API server bounds what the rules of a CRD may cost at worst, and a rule
    that lists may hold a thousand times over is counted a thousand times.
    """
    ends = "".join(f" && !self.startsWith('{c}') && !self.endsWith('{c}')" for c in not_at_ends)
    return Rule(f"self.matches('^[{characters}]*$'){ends}", message)


def rules(*items: Rule) -> dict[str, JsonValue]:
    """Return the schema extension that carries CEL rules, for `json_schema_extra`."""
    return {"x-kubernetes-validations": [item.to_json() for item in items]}


def list_map(*keys: str) -> dict[str, JsonValue]:
    """Return the schema extension of a list whose items are identified by `keys` (`listType: map`)."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: dict[str, JsonValue] = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: dict[str, JsonValue] = {"x-kubernetes-list-type": "atomic"}
OPAQUE: dict[str, JsonValue] = {
    "type": "object",
    "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True},
}
"""The schema of a Kubernetes type that is too large to spell out; the API server checks it in a dry run.

It is a map of anything, not an object with unknown fields: CEL takes two such objects for equal that have as many fields
under other names, so that an immutable `{emptyDir: {}}` could become a `{hostPath: …}`.
"""

IS_LABEL = consists_of(
    "-a-z0-9",
    "must be lower-case letters, digits and -, with a letter or digit at both ends, such as train-model",
    not_at_ends="-",
)
ObjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=DNS_SUBDOMAIN,
        json_schema_extra=rules(
            consists_of(
                "-.a-z0-9",
                "must be the name of an object: lower-case letters, digits, - and ., with a letter or digit at both "
                "ends, such as s3-credentials",
                not_at_ends="-.",
            )
        ),
    ),
]
LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL, json_schema_extra=rules(IS_LABEL))]
SecretKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        json_schema_extra=rules(consists_of("-._a-zA-Z0-9", "must be letters, digits, -, _ and ., such as ca.crt")),
    ),
]
QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE](\+|-)?([0-9]+(\.[0-9]*)?|\.[0-9]+))?$"


def _whole_number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_whole_number_as_text),
    StringConstraints(max_length=32, pattern=QUANTITY),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY,
            "maxLength": 32,
            **rules(
                Rule(
                    "type(self) == int ? self >= 0 : isQuantity(self) && !self.startsWith('-')",
                    "must be a quantity that is not negative, such as 500m, 2, 1.5 or 10Gi",
                )
            ),
        }
    ),
]
"""A Kubernetes quantity such as `500m` or `10Gi`."""

Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""An RFC 3339 time in UTC."""

Opaque = Annotated[Mapping[str, Any], Field(json_schema_extra=OPAQUE)]


class LocalRef(Model):
    """The name of an object of the same namespace."""

    name: ObjectName = Field(description="Name of the object, in this namespace.")


class LocalSecretRef(Model):
    """The name of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret, in this namespace.")


class SecretKeyRef(Model):
    """One key of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret, in this namespace.")
    key: SecretKey = Field(description="Key within the Secret's data.")


def snake_case(name: str) -> str:
    """Return a name of the API, such as artifactStore, as Python has it: artifact_store."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
