"""What is made from the charts: manifests/install, and the tables of values in their READMEs."""

from __future__ import annotations

from types import ModuleType

import pytest
import yaml

from cairn.api.base import JsonObject

from .conftest import ROOT, Chart

INSTALL = ROOT / "manifests/install"


def without_labels_of_helm(item: JsonObject) -> JsonObject:
    """Return the object as it is without Helm."""
    item = yaml.safe_load(yaml.safe_dump(item))
    for owner in (item, item.get("spec", {}).get("template", {})):
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            owner.get("metadata", {}).get("labels", {}).pop(label, None)
    return item


def test_everything_generated_is_up_to_date(generator: ModuleType):
    stale = [str(path) for path, text in generator.generated_files().items() if path.read_text() != text]

    assert not stale, "run `make generate` and commit the result"


def test_kubectl_installs_the_same_as_helm(cairn: Chart):
    default = cairn.render()
    by_helm = [
        without_labels_of_helm(item)
        for item in default.items
        if item not in default.hooks and item["kind"] != "CustomResourceDefinition"
    ]

    assert list(yaml.safe_load_all((INSTALL / "operator.yaml").read_text())) == by_helm


def test_kubectl_installs_the_crds():
    base = yaml.safe_load((INSTALL / "kustomization.yaml").read_text())
    crds = yaml.safe_load((ROOT / "crds/kustomization.yaml").read_text())

    assert base["resources"] == ["namespace.yaml", "../../crds", "operator.yaml"]
    assert sorted(crds["resources"]) == sorted(
        path.name for path in (ROOT / "crds").glob("*.yaml") if path.name != "kustomization.yaml"
    )


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_the_namespace_allows_restricted_pods_only(mode: str):
    labels = yaml.safe_load((INSTALL / "namespace.yaml").read_text())["metadata"]["labels"]

    assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
