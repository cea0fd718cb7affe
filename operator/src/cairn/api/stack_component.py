"""The kind StackComponent: one configured tool.

Its spec is a union of types, each a union of flavors. The members are the flavors' own configuration models, so this
module builds the union from what it is given and knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, create_model

from cairn.api.base import Model, Rule, Timestamp, rules, snake_case
from cairn.api.conditions import Condition

Flavors = Mapping[str, type[Model]]
"""The configuration model of each flavor of a type, by the flavor's name."""


class StackComponentStatus(Model):
    """What the operator found."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="`Ready`: whether the component was seen to work; Unknown where that could not be found out. "
        "`InUse`: deletion waits for Stacks that use it. `Reconciling`, while Helm is at work on it. `Stalled`, while only another "
        "spec can mend it.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    observed_generation: int | None = Field(
        default=None,
        description="The generation of the spec that the status is about; 0 until the operator has seen it.",
        ge=0,
    )
    type: str | None = Field(default=None, description="The component's type, such as artifactStore.", max_length=63)
    flavor: str | None = Field(default=None, description="The component's flavor, such as s3.", max_length=63)
    endpoint: str | None = Field(default=None, description="Address of what the component stands for.", max_length=1024)
    last_checked_time: Timestamp | None = Field(default=None, description="When it was last checked.")
    used_by: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=1000)] | None = Field(
        default=None,
        description="Names of the Stacks that use it.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


def build_spec(types: Mapping[str, Flavors], type_descriptions: Mapping[str, str]) -> type[Model]:
    """Return the model of `StackComponent.spec`: exactly one type, exactly one flavor of it, both immutable."""
    members = {
        type_name: _union(
            name=type_name[0].upper() + type_name[1:],
            doc=f"{type_descriptions[type_name]} Exactly one flavor.",
            members=flavors,
            descriptions={flavor: _first_paragraph(model) for flavor, model in flavors.items()},
            noun="flavor",
            path=f"spec.{type_name}",
            remedy="; write `flavor: {}` for one without settings",
        )
        for type_name, flavors in types.items()
    }
    return _union(
        name="StackComponentSpec",
        doc="What the component is: exactly one type, exactly one flavor of it.",
        members=members,
        descriptions=type_descriptions,
        noun="type",
        path="spec",
    )


def _union(
    *,
    name: str,
    doc: str,
    members: Mapping[str, type[Model]],
    descriptions: Mapping[str, str],
    noun: str,
    path: str,
    remedy: str = "",
) -> type[Model]:
    names = ", ".join(members)
    count = " + ".join(f"(has(self.{member}) ? 1 : 0)" for member in members)
    same = " && ".join(f"has(self.{member}) == has(oldSelf.{member})" for member in members)
    fields: dict[str, Any] = {
        snake_case(member): (model | None, Field(default=None, alias=member, description=descriptions[member]))
        for member, model in members.items()
    }
    built = create_model(name, __base__=Model, __doc__=doc, **fields)
    built.model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(f"({count}) == 1", f"{path} must have exactly one {noun}, one of: {names}{remedy}"),
            Rule(same, f"the {noun} of a component is immutable: create another StackComponent"),
        ),
        **{key: value for key, value in Model.model_config.items() if key != "json_schema_extra"},  # type: ignore[typeddict-item]
    )
    built.model_rebuild(force=True)
    return built


def _first_paragraph(model: type[Model]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
