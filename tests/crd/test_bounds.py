"""Every bound of every field: what just meets it is accepted, what just does not is refused and the field is named.

The objects are made from the complete ones in `valid/` and the schemas, so a new field is tested as soon as a complete
object has it; and one has it, or `test_the_complete_objects_have_every_field` fails. Each object is put to the models
too, which must agree with the schemas that were made of them.
"""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from cairn.api.base import JsonObject

from .api_server import ApiServer
from .manifests import SPECS, complete, crds
from .schema import Law, laws, nodes, places, spec_schema

TESTED_ELSEWHERE = ("spec.finally[].", "spec.template.spec.")
"""What is below has the schema of a step, or of a run, which have their own tests."""
NAMES_OF_OTHERS = "spec.timeZone"
"""Nothing that is as long, or as short, as it may be is the name of a time zone."""


def every_law() -> list[object]:
    return [
        pytest.param(law, id=f"{crd['spec']['names']['singular']}:{place.name}:{law.name}")
        for crd in crds()
        for place in places(crd, complete()).values()
        for law in laws(place)
        if not place.name.startswith(TESTED_ELSEWHERE)
        if not (place.name == NAMES_OF_OTHERS and law.name in {"minLength", "maxLength"})
    ]


@pytest.mark.parametrize("law", every_law())
def test_bound(law: Law, api_server: ApiServer) -> None:
    for manifest in law.accepted:
        answer = api_server.dry_run(manifest)

        assert not answer.refused, answer
        assert model_accepts(manifest)

    for manifest in law.refused:
        answer = api_server.dry_run(manifest)

        assert answer.refused, answer
        assert answer.names(law.field, law.words), f"expected {law.field}: {law.words}, but was {answer}"
        # that no two items have the same key is the API server's business alone
        assert law.name == "unique" or not model_accepts(manifest)


def test_steps_at_the_end_are_steps_as_any() -> None:
    properties = spec_schema(of_kind("PipelineRun"))["properties"]

    assert properties["finally"]["items"] == properties["steps"]["items"]


def test_what_a_pipeline_says_of_its_runs_is_what_a_run_says() -> None:
    of_run = spec_schema(of_kind("PipelineRun"))["properties"]
    template = spec_schema(of_kind("Pipeline"))["properties"]["template"]["properties"]["spec"]["properties"]

    differ = {name for name, schema in template.items() if bounds_of(schema) != bounds_of(of_run[name])}
    assert differ == set()


@pytest.mark.parametrize("crd", crds(), ids=lambda crd: crd["spec"]["names"]["singular"])
def test_the_complete_objects_have_every_field(crd: JsonObject) -> None:
    fields = {name for name, _ in nodes(spec_schema(crd), "spec") if not name.startswith(TESTED_ELSEWHERE)}

    assert fields - set(places(crd, complete())) == set()


def of_kind(kind: str) -> JsonObject:
    """Return the CRD of a kind."""
    return next(crd for crd in crds() if crd["spec"]["names"]["kind"] == kind)


def bounds_of(schema: JsonObject) -> JsonObject:
    """Return a schema without what a Pipeline and a run may say differently of a field: its text, and its default."""
    return {key: value for key, value in schema.items() if key not in {"description", "default"}}


def model_accepts(manifest: JsonObject) -> bool:
    """Return whether the model takes the object as the API server would: a number is no text, snake_case no name."""
    try:
        SPECS[manifest["kind"]].model_validate_json(
            json.dumps(manifest["spec"]), strict=True, by_alias=True, by_name=False
        )
    except ValidationError:
        return False
    return True
