"""All flavors: every module below this package that defines one, found by importing it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

import cairn.components as components_package
from cairn.api.base import JsonObject
from cairn.components.base import Flavor
from cairn.components.component_types import TYPE_DESCRIPTIONS

AnyFlavor = Flavor[Any]


class UnknownFlavorError(ValueError):
    """The object has a type or flavor that this version of the operator does not know."""


@cache
def flavors() -> Mapping[str, Mapping[str, type[AnyFlavor]]]:
    """Return the flavors of each type, by type and flavor name, types in the order of their descriptions."""
    found: dict[str, dict[str, type[AnyFlavor]]] = {type_name: {} for type_name in TYPE_DESCRIPTIONS}
    for flavor in sorted(_discover(), key=lambda flavor: flavor.flavor):
        found[flavor.type][flavor.flavor] = flavor
    return found


def load(component: JsonObject) -> AnyFlavor:
    """Return the component that a StackComponent object describes.

    Raises:
        UnknownFlavorError: the type or the flavor is not one of this version.
        ValidationError: the configuration does not fit the flavor's model.
    """
    metadata, spec = component["metadata"], component.get("spec") or {}
    for type_name, union in spec.items():
        for flavor_name, config in union.items():
            flavor = flavors().get(type_name, {}).get(flavor_name)
            if flavor is None:
                raise UnknownFlavorError(f"this version of Cairn has no {type_name} of flavor {flavor_name}")
            return flavor(metadata["namespace"], metadata["name"], flavor.config_model.model_validate(config))
    raise UnknownFlavorError("the spec names no type and flavor")


def loaded(component: JsonObject) -> AnyFlavor | None:
    """Return the component that a StackComponent object describes; None where it describes none that is valid."""
    try:
        return load(component)
    except (UnknownFlavorError, ValidationError):
        return None


def _discover() -> Iterator[type[AnyFlavor]]:
    for module_info in pkgutil.walk_packages(components_package.__path__, f"{components_package.__name__}."):
        module = importlib.import_module(module_info.name)
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ == module.__name__ and issubclass(member, Flavor) and not inspect.isabstract(member):
                yield member
