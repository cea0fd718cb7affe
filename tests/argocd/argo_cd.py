"""A real Argo CD, of its core manifests, and how to wait for its Applications."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml

from cluster import Cluster
from polling import poll
from tests.argocd.images import ARGOCD, MANIFESTS, STATE

NAMESPACE = "argocd"
KINDS = {"applications.argoproj.io", "appprojects.argoproj.io"}
SETTINGS = {
    "argocd-cm": {
        "timeout.reconciliation": "30s",  # how often it looks at Git; it asks at once where `refresh` does
        "timeout.reconciliation.jitter": "0s",
    },
    # Its pages show how each object is; with this, the Application's status does, too.
    "argocd-cmd-params-cm": {"controller.resource.health.persist": "true"},
}
"""What is set in its ConfigMaps, by their names."""
DEFAULT_PROJECT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default"},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    },
}
"""Argo CD's API server makes it, and the key of sessions, when it starts, which the core installation does without."""

Body = dict[str, Any]


class ArgoCD:
    """Argo CD in its namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster.within(NAMESPACE)

    def install(self) -> None:
        """Apply the manifests, and wait until all of it runs."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        objects = [_for_tests(body) for body in yaml.safe_load_all(MANIFESTS.read_text()) if body]
        feed = yaml.safe_dump_all(objects)
        self.cluster.kubectl("apply", "--server-side", "--filename=-", feed=feed)
        poll(self._kinds, lambda kinds: kinds >= KINDS, 60, "the API server does not serve its kinds")
        self.cluster.apply(DEFAULT_PROJECT)
        self.cluster.patch("Secret", "argocd-secret", {"stringData": {"server.secretkey": secrets.token_hex(32)}})
        self.cluster.kubectl("rollout", "status", "deployment/argocd-repo-server", "--timeout=300s")
        self.cluster.kubectl("rollout", "status", "statefulset/argocd-application-controller", "--timeout=300s")

    def _kinds(self) -> set[str]:
        return set(self.cluster.kubectl("api-resources", "--api-group=argoproj.io", "--output=name").split())

    def configure(self, settings: dict[str, str | None]) -> None:
        """Set keys of its ConfigMap; None takes one away."""
        self.cluster.patch("ConfigMap", "argocd-cm", {"data": settings})

    def restart(self) -> None:
        """Have it read settings that it reads when it starts only."""
        self.cluster.kubectl("rollout", "restart", "statefulset/argocd-application-controller")
        self.cluster.kubectl("rollout", "status", "statefulset/argocd-application-controller", "--timeout=300s")

    def application(self, name: str) -> Body:
        """Return an Application."""
        found = self.cluster.get("Application", name)
        assert found is not None, f"Application {name} is not there"
        return found

    def refresh(self, *names: str) -> None:
        """Have it look at Git now, as a webhook would."""
        for name in names:
            annotations = {"argocd.argoproj.io/refresh": "normal"}
            self.cluster.patch("Application", name, {"metadata": {"annotations": annotations}})
            self.cluster.wait("Application", name, _is_refreshed, 60, "it to be refreshed")

    def sync(self, name: str) -> None:
        """Have it apply an Application, be it Synced or not, and wait until it has."""

        def done(body: Body) -> bool:
            return "operation" not in body and body["status"]["operationState"]["phase"] == "Succeeded"

        self.cluster.patch("Application", name, {"operation": {"sync": {}}})
        self.cluster.wait("Application", name, done, 120, "it to be synced")

    def wait(self, name: str, *, health: str, timeout: float, sync: str = "Synced") -> Body:
        """Wait until an Application is so, and return it."""

        def holds(body: Body) -> bool:
            status = body.get("status") or {}
            found = (status.get("sync") or {}).get("status"), (status.get("health") or {}).get("status")
            return found == (sync, health)

        return self.cluster.wait("Application", name, holds, timeout, f"{sync} and {health}")

    def wait_resource(self, name: str, kind: str, resource: str, health: str, timeout: float) -> str:
        """Wait until an object of an Application is so healthy, and return the message."""

        def holds(body: Body) -> bool:
            return health_of(body, kind, resource).get("status") == health

        body = self.cluster.wait("Application", name, holds, timeout, f"{kind} {resource} to be {health}")
        return health_of(body, kind, resource).get("message", "")

    def wait_synced_to(self, name: str, revision: str, timeout: float = 120) -> Body:
        """Wait until a commit is applied."""

        def holds(body: Body) -> bool:
            status = body.get("status") or {}
            operation = status.get("operationState") or {}
            return (
                (status.get("sync") or {}).get("revision") == revision
                and (status.get("sync") or {}).get("status") == "Synced"
                and operation.get("phase") == "Succeeded"
            )

        return self.cluster.wait("Application", name, holds, timeout, f"to be at {revision}")

    def act(self, application: str, kind: str, name: str, action: str) -> None:
        """Do what a button of its pages does, by its command line."""
        command = ["app", "actions", "run", application, action, "--kind", kind, "--resource-name", name, "--core"]
        environment = {**os.environ, "KUBECONFIG": str(self._kubeconfig())}
        done = subprocess.run([str(ARGOCD), *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _kubeconfig(self) -> Path:
        """Return a kubeconfig whose namespace is Argo CD's: with `--core` its command line looks for its settings there."""
        file = STATE / "kubeconfig-argocd"
        file.write_text(self.cluster.kubectl("config", "view", "--raw"))
        file.chmod(0o600)
        self.cluster.kubectl("config", "set-context", "--current", f"--kubeconfig={file}")
        return file


def health_of(application: Body, kind: str, name: str) -> Body:
    """Return how healthy an object of an Application is; nothing where it is not known."""
    resources = (application.get("status") or {}).get("resources") or []
    found = next((item for item in resources if (item["kind"], item["name"]) == (kind, name)), {})
    return found.get("health") or {}


def _is_refreshed(application: Body) -> bool:
    return "argocd.argoproj.io/refresh" not in (application["metadata"].get("annotations") or {})


def _for_tests(body: Body) -> Body:
    """Return an object with the settings, and whose containers use an image that the node has."""
    if body["kind"] == "ConfigMap" and body["metadata"]["name"] in SETTINGS:
        return {**body, "data": SETTINGS[body["metadata"]["name"]]}
    return json.loads(json.dumps(body).replace('"imagePullPolicy": "Always"', '"imagePullPolicy": "IfNotPresent"'))
