"""What the charts' Chart.yaml tells: what a catalogue of charts shows, and what `ct lint` asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cairn.api.base import JsonObject

from .conftest import CHARTS, ROOT

every_chart = pytest.mark.parametrize("path", [CHARTS / "cairn", CHARTS / "mlflow"], ids=lambda path: path.name)


def metadata(path: Path) -> JsonObject:
    return yaml.safe_load((path / "Chart.yaml").read_text())


@every_chart
def test_a_reader_is_told_what_it_is_whose_and_for_which_kubernetes(path: Path):
    found = metadata(path)

    assert found["apiVersion"] == "v2"
    assert found["name"] == path.name
    assert all(isinstance(found[name], str) for name in ("version", "appVersion", "description", "kubeVersion"))
    assert found["home"].startswith("https://")
    assert all(maintainer["name"] for maintainer in found["maintainers"])
    assert found["annotations"]["artifacthub.io/license"] == "Apache-2.0"


@every_chart
def test_annotations_are_texts(path: Path):
    """Helm refuses others, but only where it pushes a chart."""
    assert all(isinstance(value, str) for value in metadata(path)["annotations"].values())


def test_the_kinds_that_a_catalogue_shows_are_those_of_the_crds():
    shown = yaml.safe_load(metadata(CHARTS / "cairn")["annotations"]["artifacthub.io/crds"])
    crds = [
        yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml") if path.name != "kustomization.yaml"
    ]

    wanted = {
        (crd["spec"]["names"]["kind"], crd["metadata"]["name"], crd["spec"]["versions"][0]["name"]) for crd in crds
    }
    assert {(one["kind"], one["name"], one["version"]) for one in shown} == wanted
    assert all(one["description"] for one in shown)
