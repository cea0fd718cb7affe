from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from cairn.api.base import JsonObject

ROOT = Path(__file__).parents[3]
CHARTS = ROOT / "charts"
KUBERNETES = "--kube-version=1.34"


class RenderError(Exception):
    """Helm refuses the values."""


@dataclass(frozen=True)
class Objects:
    """The objects of a rendered chart."""

    items: Sequence[JsonObject]

    def of(self, kind: str) -> list[JsonObject]:
        return [item for item in self.items if item["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> JsonObject:
        (item,) = (item for item in self.of(kind) if item["metadata"]["name"] == name or name is None)
        return item

    @property
    def hooks(self) -> list[JsonObject]:
        return [item for item in self.items if "helm.sh/hook" in item["metadata"].get("annotations", {})]

    @property
    def pods(self) -> Iterator[JsonObject]:
        """The specs of all pods."""
        for item in self.items:
            if item["kind"] == "Pod":
                yield item["spec"]
            elif item["kind"] == "CronJob":
                yield item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            elif "template" in item.get("spec", {}):
                yield item["spec"]["template"]["spec"]

    @property
    def main(self) -> JsonObject:
        """The container that the chart is about."""
        return self.one("Deployment")["spec"]["template"]["spec"]["containers"][0]

    @property
    def env(self) -> dict[str, str]:
        return {variable["name"]: variable.get("value", "") for variable in self.main["env"]}


def load(text: str) -> list[JsonObject]:
    """Return the objects of a text in YAML; the CRDs are long, so by libyaml where it is there."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [item for item in yaml.load_all(text, Loader=loader) if item]


@dataclass(frozen=True)
class Chart:
    helm: str
    path: Path
    namespace: str

    @property
    def name(self) -> str:
        return self.path.name

    def run(self, *arguments: str) -> str:
        answer = subprocess.run([self.helm, *arguments], check=False, capture_output=True, text=True)
        if answer.returncode:
            raise RenderError(answer.stdout + answer.stderr)
        return answer.stdout

    def lint(self, *values: str) -> None:
        """Raise RenderError where Helm finds anything to say about the chart with such values."""
        self.run("lint", "--strict", KUBERNETES, str(self.path), *_set(values))

    def render(self, *values: str) -> Objects:
        """Return what the chart makes of values such as `crds.keep=false`."""
        return _render(self, values)


@cache
def _render(chart: Chart, values: tuple[str, ...]) -> Objects:
    options = (f"--namespace={chart.namespace}", KUBERNETES, *_set(values))
    return Objects(load(chart.run("template", chart.name, str(chart.path), *options)))


def _set(values: Sequence[str]) -> list[str]:
    return [f"--set={value}" for value in values]


@pytest.fixture(scope="module")
def default(chart: Chart) -> Objects:
    """What the module's chart makes of its default values."""
    return chart.render()


def module_at(path: Path) -> ModuleType:
    """Return a Python file that is in no package as a module."""
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    """charts/generate.py."""
    return module_at(CHARTS / "generate.py")


@pytest.fixture(scope="session")
def cairn(generator: ModuleType) -> Chart:
    return Chart(generator.helm(), CHARTS / "cairn", "cairn-system")


@pytest.fixture(scope="session")
def mlflow(generator: ModuleType) -> Chart:
    return Chart(generator.helm(), CHARTS / "mlflow", "ml")
