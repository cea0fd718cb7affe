"""What can be written of each flavor: the models in the modules `config` of their packages.

They bring none of what the flavors need to work with, so that a program that only writes StackComponents starts fast.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache

import cairn.components as components_package
from cairn.api.base import Model, snake_case
from cairn.api.stack_component import Flavors, build_spec
from cairn.components.component_types import TYPE_DESCRIPTIONS


@cache
def configs() -> Mapping[str, Flavors]:
    """Return the configuration models by type and flavor name, types in the order of their descriptions."""
    return {type_name: _flavors_of(snake_case(type_name)) for type_name in TYPE_DESCRIPTIONS}


@cache
def spec_model() -> type[Model]:
    """Return the model of `StackComponent.spec`."""
    return build_spec(configs(), TYPE_DESCRIPTIONS)


def _flavors_of(package: str) -> Flavors:
    type_package = importlib.import_module(f"{components_package.__name__}.{package}")
    return {
        info.name: _config_of(f"{type_package.__name__}.{info.name}.config")
        for info in sorted(pkgutil.iter_modules(type_package.__path__), key=lambda info: info.name)
        if info.ispkg
    }


def _config_of(module_name: str) -> type[Model]:
    """Return the one model of a module whose name ends so."""
    module = importlib.import_module(module_name)
    (config,) = (
        member
        for name, member in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Config") and member.__module__ == module_name and issubclass(member, Model)
    )
    return config
