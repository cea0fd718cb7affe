"""One file for `kubectl apply --filename`: the namespace, the CRDs and the operator."""

from __future__ import annotations

import yaml

from charts.generate import ROOT, operator

HEADER = """\
# Cairn {version} without Helm, in the namespace cairn-system:
#   kubectl apply --filename install.yaml
# Client-side and server-side apply (--server-side) both work, again and again.
"""


def install_manifest(version: str, operator_image: str, mlflow_image: str) -> str:
    """Return what `kubectl kustomize manifests/install` makes, with these images and its comments."""
    crds = ROOT / "crds"
    names = yaml.safe_load((crds / "kustomization.yaml").read_text())["resources"]
    parts = [ROOT / "manifests/install/namespace.yaml", *(crds / name for name in names)]
    documents = "".join("---\n" + path.read_text() for path in parts)
    repository, separator, version_or_digest = operator_image.partition("@")
    if not separator:
        repository, _, version_or_digest = operator_image.rpartition(":")
    settings = {
        "image.repository": repository,
        "image.digest" if separator else "image.tag": version_or_digest,
        "mlflow.image": mlflow_image,
    }
    given = [f"--set={name}={value}" for name, value in settings.items()]
    return HEADER.format(version=version) + documents + operator(*given)
