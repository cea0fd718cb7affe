"""An MLflow server in the cluster, installed by its chart, and an independent reader of its REST API."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Body, Cluster
from port_forward import PortForward

CHECKOUT = Path(__file__).parents[2]
PORT = 5000


def image() -> str:
    """Return the reference of the server's image, which has MLflow for steps, too."""
    lines = (CHECKOUT / ".cluster/images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)["MLFLOW_IMAGE"]


@dataclass(frozen=True)
class MLflowRun:
    """A run as MLflow tells of it."""

    id: str
    name: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    datasets: dict[str, str]
    """Digests by name."""

    @property
    def parent(self) -> str | None:
        """The ID of the run that it is nested in."""
        return self.tags.get("mlflow.parentRunId")


@dataclass(frozen=True)
class MLflowServer:
    """Where the server is."""

    cluster: Cluster
    way: PortForward
    name: str = "mlflow"
    """Of its release, which its Deployment and its Service have, too."""

    @property
    def uri(self) -> str:
        """Its address within the cluster."""
        return f"http://{self.name}.{self.cluster.namespace}:{PORT}"

    def runs(self, experiment: str) -> Sequence[MLflowRun]:
        """Return the runs of an experiment, the oldest first."""
        found = self.ask(f"experiments/get-by-name?experiment_name={experiment}")
        ids = [found["experiment"]["experiment_id"]]
        body = {"experiment_ids": ids, "order_by": ["attributes.start_time ASC"], "max_results": 1000}
        return [_run(item) for item in self.ask("runs/search", body).get("runs", [])]

    def scale(self, replicas: int) -> None:
        """Stop the server, or start it again."""
        self.way.close()
        self.cluster.kubectl("scale", f"deployment/{self.name}", f"--replicas={replicas}")
        self._wait_ready(replicas)

    def kill(self) -> None:
        """Delete the server's pod without a warning, and wait for the next one."""
        self.way.close()
        (pod,) = self.cluster.list("Pod", f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server")
        self.cluster.delete("Pod", pod["metadata"]["name"], grace_period=0)
        self.cluster.wait_gone("Pod", pod["metadata"]["name"], 60)
        self._wait_ready(1)

    def _wait_ready(self, replicas: int) -> None:
        self.cluster.wait(
            "Deployment", self.name, lambda body: body.get("status", {}).get("readyReplicas", 0) == replicas, 120
        )

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


def recorded(namespace: Cluster, name: str, timeout: float = 60) -> Body:
    """Wait until all of a run is recorded, and return it."""
    namespace.finished(name, timeout=300)
    namespace.wait_condition("PipelineRun", name, "Tracked", status="True", reason="Recorded", timeout=timeout)
    body = namespace.get("PipelineRun", name)
    assert body is not None
    return body


@contextmanager
def way_to(namespace: Cluster, name: str) -> Generator[MLflowServer]:
    """Return the server of a release that is there."""
    server = MLflowServer(namespace, PortForward(namespace.namespace, name, PORT), name)
    try:
        yield server
    finally:
        server.way.close()


@contextmanager
def mlflow_server(namespace: Cluster, **values: str) -> Generator[MLflowServer]:
    """Install the chart in a namespace, with values such as `**{"auth.enabled": "true"}`."""
    install(namespace, **values)
    with way_to(namespace, "mlflow") as server:
        yield server


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


def _run(item: Body) -> MLflowRun:
    info, data = item["info"], item["data"]
    inputs = item.get("inputs", {}).get("dataset_inputs", [])
    return MLflowRun(
        info["run_id"],
        info["run_name"],
        info["status"],
        {param["key"]: param["value"] for param in data.get("params", [])},
        {metric["key"]: metric["value"] for metric in data.get("metrics", [])},
        {tag["key"]: tag["value"] for tag in data.get("tags", [])},
        {one["dataset"]["name"]: one["dataset"]["digest"] for one in inputs},
    )
