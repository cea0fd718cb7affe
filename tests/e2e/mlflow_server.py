"""An MLflow server in the cluster, installed by its chart, and an independent reader of its REST API."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Body, Cluster
from port_forward import PortForward

CHECKOUT = Path(__file__).parents[2]
PORT = 5000


def image() -> str:
    """Return the reference of the server's image, as `make images` has built it."""
    lines = (CHECKOUT / ".cluster/images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)["MLFLOW_IMAGE"]


@dataclass(frozen=True)
class MLflowServer:
    """Where the server is."""

    cluster: Cluster
    way: PortForward

    def ask(self, endpoint: str, body: Body | None = None, **headers: str) -> Any:
        """Return what the server answers to a request of its REST API, which must not fail."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.way.port}/api/2.0/mlflow/{endpoint}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, to this machine
            return json.load(answer)

    def refusal(self, endpoint: str, **headers: str) -> int:
        """Return the status of a refusal."""
        try:
            self.ask(endpoint, None, **headers)
        except urllib.error.HTTPError as error:
            return error.code
        raise AssertionError(f"{endpoint} is not refused")


@contextmanager
def mlflow_server(namespace: Cluster, **values: str) -> Generator[MLflowServer]:
    """Install the chart in a namespace, with values such as `**{"auth.enabled": "true"}`."""
    install(namespace, **values)
    server = MLflowServer(namespace, PortForward(namespace.namespace, "mlflow", PORT))
    try:
        yield server
    finally:
        server.way.close()


def install(namespace: Cluster, **values: str) -> None:
    """Install the chart, or upgrade it."""
    repository, _, tag = image().rpartition(":")
    settings = {"image.repository": repository, "image.tag": tag, **values}
    given = [f"--set={name}={value}" for name, value in settings.items()]
    helm(
        namespace, "upgrade", "--install", "mlflow", str(CHECKOUT / "charts/mlflow"), "--wait", "--timeout=180s", *given
    )


def helm(namespace: Cluster, *arguments: str) -> str:
    """Run Helm in a namespace and return what it says; fails where it does."""
    command = ["helm", *arguments, "--namespace", namespace.namespace]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout
