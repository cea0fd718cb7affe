from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.components.component_types import TYPE_DESCRIPTIONS
from cairn.components.configs import configs, spec_model
from cairn.components.registry import UnknownFlavorError, flavors, load
from tests.unit.builders import BUCKET_SPEC, DISK_SPEC, GPU_SPEC, JOBS_SPEC, LAPTOP_SPEC, component_body


def test_what_can_be_written_is_what_there_is_behaviour_for():
    behaviour = {
        type_: {name: flavor.config_model for name, flavor in members.items()} for type_, members in flavors().items()
    }

    assert behaviour == configs()


def test_every_type_has_a_description_and_a_flavor():
    assert list(flavors()) == list(TYPE_DESCRIPTIONS)
    assert all(flavors().values())


def test_a_flavor_is_filed_under_its_own_names():
    for type_, members in flavors().items():
        for name, flavor in members.items():
            assert (flavor.type, flavor.flavor) == (type_, name)


@pytest.mark.parametrize("spec", [BUCKET_SPEC, DISK_SPEC, GPU_SPEC, JOBS_SPEC, LAPTOP_SPEC])
def test_an_object_becomes_the_component_that_it_describes(spec: JsonObject):
    ((type_, union),) = spec.items()
    (flavor,) = union

    component = load(component_body("mine", spec))

    assert (component.type, component.flavor, component.namespace, component.name) == (type_, flavor, "ml", "mine")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"artifactStore": {"tape": {}}}, "this version of Cairn has no artifactStore of flavor tape"),
        ({"teleporter": {"beam": {}}}, "this version of Cairn has no teleporter of flavor beam"),
        ({}, "the spec names no type and flavor"),
        ({"artifactStore": {}}, "the spec names no type and flavor"),
    ],
)
def test_a_flavor_of_another_version_is_named(spec: JsonObject, message: str):
    with pytest.raises(UnknownFlavorError, match=message):
        load(component_body("mine", spec))


def test_a_problem_names_its_field():
    with pytest.raises(ValidationError) as error:
        load(component_body("mine", {"orchestrator": {"kubernetes": {"maxParallelSteps": 0}}}))

    assert first_problem(error.value).startswith("maxParallelSteps: ")


def test_the_spec_s_model_has_a_field_for_each_type():
    fields = spec_model().model_fields

    assert [field.alias for field in fields.values()] == list(flavors())


def test_what_can_be_written_is_known_without_what_it_takes_to_do_it():
    program = "import sys, cairn.components.configs as c; c.spec_model(); print(*sys.modules)"

    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert {"kopf", "kubernetes", "aiohttp", "botocore", "obstore"}.isdisjoint(imported)
