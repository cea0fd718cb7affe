"""A Git server in the cluster, and a clone of its repository on this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from cluster import Cluster
from manifests import RESTRICTED
from port_forward import PortForward
from tests.argocd.images import CHECKOUT, image

NAMESPACE = "git"
PORT = 9418
SERVED = ("charts/cairn", "manifests")
"""What of this checkout is in the repository."""

Body = dict[str, Any]


class Repository:
    """What a platform team has: this repository, or a fork of it."""

    url = f"git://git.{NAMESPACE}.svc/cairn.git"
    """The address within the cluster."""

    def __init__(self, directory: Path, way: PortForward) -> None:
        self._directory = directory
        self._way = way
        self._git("init", "--quiet", "--initial-branch=main")
        for path in SERVED:
            shutil.copytree(CHECKOUT / path, directory / path)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self._directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def read(self, path: str) -> str:
        """Return what a file says."""
        return (self._directory / path).read_text()

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace some text, which must be there."""
        text = self.read(path)
        assert old in text, f"{path} has no {old!r}"
        self.write(path, text.replace(old, new))

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self._directory / path).unlink()

    def push(self, message: str) -> str:
        """Commit all that was changed, push it, and return the commit."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)
        self._git("push", "--quiet", "--force", f"git://127.0.0.1:{self._way.port}/cairn.git", "main")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        person = ("-c", "user.name=Platform", "-c", "user.email=platform@example.com", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", "-C", str(self._directory), *person, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def git_server(cluster: Cluster) -> PortForward:
    """Start the server with an empty repository, and return the way to it. Everybody may push, as nobody else is there."""
    namespace = cluster.within(NAMESPACE)
    namespace.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    namespace.apply(_pod())
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "git"},
            "spec": {"selector": {"app": "git"}, "ports": [{"port": PORT}]},
        }
    )
    namespace.kubectl("wait", "pod/git", "--for=condition=Ready", "--timeout=120s")
    return PortForward(NAMESPACE, "pod/git", PORT)


def _pod() -> Body:
    serve = f"git init --quiet --bare --initial-branch=main /srv/cairn.git && exec git daemon --verbose --export-all --port={PORT}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "git", "labels": {"app": "git"}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 999,
                "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "git",
                    "image": image("ARGOCD_IMAGE"),
                    "command": ["sh", "-c", f"{serve} --base-path=/srv --enable=receive-pack --reuseaddr"],
                    "ports": [{"containerPort": PORT}],
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 5, "initialDelaySeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "srv", "mountPath": "/srv"}],
                }
            ],
            "volumes": [{"name": "srv", "emptyDir": {}}],
        },
    }
