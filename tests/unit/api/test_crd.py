from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import Field

from cairn.api.base import JsonObject, Model
from cairn.api.crd import Column, structural_schema
from cairn.kinds import kinds

CRDS = {kind.kind: kind.to_crd() for kind in kinds()}
WRITTEN_BY_KUBERNETES = {"apiVersion", "kind", "metadata"}


def schema_of(kind: str) -> JsonObject:
    return CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: JsonObject, path: str = "") -> Iterator[tuple[str, JsonObject]]:
    """Yield every schema within a schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        if path or name not in WRITTEN_BY_KUBERNETES:
            yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


SAYS_WHAT_IT_IS = {"type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}
EVERY_NODE = [(f"{kind}{path}", node) for kind in CRDS for path, node in nodes(schema_of(kind))]


class TestTheThreeKinds:
    @pytest.mark.parametrize("keyword", ["$ref", "$defs", "oneOf", "allOf", "not", "title", "const", "uniqueItems"])
    def test_a_structural_schema_has_none_of_these(self, keyword: str):
        assert [path for path, node in EVERY_NODE if keyword in node] == []

    def test_everything_has_a_type(self):
        assert [path for path, node in EVERY_NODE if not SAYS_WHAT_IT_IS & node.keys()] == []

    def test_every_field_is_described(self):
        assert [path for path, node in EVERY_NODE if not path.endswith("[]") and not node.get("description")] == []

    def test_every_text_and_every_list_has_a_limit(self):
        unlimited = [
            path
            for path, node in EVERY_NODE
            if (node.get("type") == "string" and not {"maxLength", "enum", "format"} & node.keys())
            or (node.get("type") == "array" and "maxItems" not in node)
        ]

        assert unlimited == []

    def test_every_list_of_a_spec_says_how_it_is_merged(self):
        lists = [
            path
            for path, node in EVERY_NODE
            if ".spec" in path and node.get("type") == "array" and "x-kubernetes-list-type" not in node
        ]

        assert lists == []

    def test_keys_of_lists_are_required_fields(self):
        for path, node in EVERY_NODE:
            if node.get("x-kubernetes-list-type") == "map":
                items = node["items"]
                assert set(node["x-kubernetes-list-map-keys"]) <= set(items["required"]), path

    def test_there_are_no_floats(self):
        assert [path for path, node in EVERY_NODE if node.get("type") == "number"] == []

    def test_defaults_are_of_spec_only(self):
        assert [path for path, node in EVERY_NODE if ".spec" in path and node.get("default", "") is None] == []

    def test_a_client_side_apply_can_carry_each(self):
        assert all(len(json.dumps(crd)) < 256 * 1024 for crd in CRDS.values())

    @pytest.mark.parametrize("kind", CRDS)
    def test_the_status_has_an_endpoint_of_its_own(self, kind: str):
        (version,) = CRDS[kind]["spec"]["versions"]

        assert version["subresources"] == {"status": {}}
        assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)

    @pytest.mark.parametrize("kind", CRDS)
    def test_columns_lead_to_fields_that_exist(self, kind: str):
        for column in CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]:
            first, second = column["jsonPath"].split(".")[1:3]
            if first in {"spec", "status"}:
                assert second.partition("[")[0] in schema_of(kind)["properties"][first]["properties"], column["name"]


class Inner(Model):
    """Something inside."""

    name: str = Field(description="Its name.", max_length=3)


class Outer(Model):
    """Something
    in two lines."""

    maybe: Inner | None = Field(None, description="May be left out.")
    several: tuple[Inner, ...] = Field((), description="May be none.")
    by_name: dict[str, Inner] | None = Field(None, description="By name.")


class Union(Model):
    """Has a union."""

    both: int | str = Field(description="Either.")


class TestConversion:
    def test_references_are_written_out(self):
        properties = structural_schema(Outer)["properties"]

        assert properties["several"]["items"]["properties"]["name"]["maxLength"] == 3
        assert properties["byName"]["additionalProperties"]["properties"].keys() == {"name"}

    def test_what_may_be_none_may_be_left_out(self):
        schema = structural_schema(Outer)

        assert schema["properties"]["maybe"]["type"] == "object"
        assert "default" not in schema["properties"]["maybe"]
        assert "required" not in schema

    def test_a_field_s_description_wins_over_its_type_s(self):
        assert structural_schema(Outer)["properties"]["maybe"]["description"] == "May be left out."

    def test_a_description_is_one_line(self):
        assert structural_schema(Outer)["description"] == "Something in two lines."

    def test_unknown_fields_are_left_to_the_api_server(self):
        assert "additionalProperties" not in structural_schema(Inner)

    def test_a_union_cannot_be_expressed(self):
        with pytest.raises(TypeError, match=r"Union\.both: a union has no structural schema"):
            structural_schema(Union)

    def test_a_wide_column_is_shown_on_demand(self):
        assert Column("A", ".a", "A.", wide=True).to_json()["priority"] == 1
        assert "priority" not in Column("A", ".a", "A.").to_json()
