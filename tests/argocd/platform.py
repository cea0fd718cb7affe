"""The platform of manifests/argocd, as a team has it: root.yaml with its own address and images."""

from __future__ import annotations

from typing import Any

import yaml

from tests.argocd.argo_cd import ArgoCD
from tests.argocd.images import CHECKOUT, image
from tests.argocd.repository import Repository

ROOT = "cairn"
APPLICATIONS = ("cairn-settings", "cairn-operator", "cairn-storage", "cairn-platform", "cairn-pipelines")
TEAM = "ml"

Body = dict[str, Any]


def root(repository: Repository) -> Body:
    """Return root.yaml as the README tells to edit it."""
    body: Body = yaml.safe_load((CHECKOUT / "manifests/argocd/root.yaml").read_text())
    source = body["spec"]["source"]
    source["repoURL"] = repository.url
    values = source["helm"]["valuesObject"]
    values["repoURL"] = repository.url
    operator, _, tag = image("OPERATOR_IMAGE").rpartition(":")
    values["operator"]["image"] = {"repository": operator, "tag": tag}
    values["operator"]["mlflow"] = {"image": image("MLFLOW_IMAGE")}
    return body


def application(repository: Repository, name: str, path: str) -> Body:
    """Return an Application that keeps a directory of the repository in the team's namespace."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "finalizers": ["resources-finalizer.argocd.argoproj.io"]},
        "spec": {
            "project": "default",
            "source": {"repoURL": repository.url, "targetRevision": "main", "path": path},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": TEAM},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "retry": {"limit": -1}},
        },
    }


def commit(argo: ArgoCD, repository: Repository, message: str, *applications: str) -> None:
    """Push what was changed, and wait until those Applications have applied it."""
    revision = repository.push(message)
    argo.refresh(*applications)
    for name in applications:
        argo.wait_synced_to(name, revision)
