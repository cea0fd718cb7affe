from __future__ import annotations

import importlib
import pkgutil

import pytest
from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.components.base import TYPE_DESCRIPTIONS
from cairn.components.registry import UnknownFlavorError, flavors, load, spec_model
from tests.unit.builders import BUCKET_SPEC, DISK_SPEC, GPU_SPEC, JOBS_SPEC, LAPTOP_SPEC, component_body


def test_every_module_of_a_component_type_brings_a_flavor():
    packages = ["".join(f"_{c.lower()}" if c.isupper() else c for c in type_name) for type_name in TYPE_DESCRIPTIONS]
    modules = {
        f"cairn.components.{package}.{info.name}"
        for package in packages
        for info in pkgutil.iter_modules(importlib.import_module(f"cairn.components.{package}").__path__)
    }

    found = [flavor.__module__ for members in flavors().values() for flavor in members.values()]
    assert [name for name in modules if not any(f"{module}.".startswith(f"{name}.") for module in found)] == []


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
