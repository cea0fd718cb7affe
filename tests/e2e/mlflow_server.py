"""An MLflow server in the cluster, installed by its chart, and an independent reader of its REST API."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import images
from cluster import Body, Cluster
from images import CHECKOUT
from port_forward import PortForward

PORT = 5000
SERVERS = "app.kubernetes.io/name=mlflow,app.kubernetes.io/component=server"
"""Selects the pods of servers."""


def image() -> str:
    """Return the reference of the server's image, which has MLflow for steps, too."""
    return images.image("MLFLOW_IMAGE")


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
    def servers(self) -> str:
        """The selector of its pods."""
        return f"app.kubernetes.io/instance={self.name},{SERVERS}"

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

    def experiments(self, **headers: str) -> set[str]:
        """Return the names of the experiments."""
        found = self.ask("experiments/search?max_results=100", None, **headers)
        return {one["name"] for one in found["experiments"]}

    @contextmanager
    def each(self) -> Generator[list[MLflowServer]]:
        """Open ways to the pods behind the Service, one for each."""
        pods = self.cluster.list("Pod", self.servers)
        ways = [PortForward(self.cluster.namespace, f"pod/{pod['metadata']['name']}", PORT) for pod in pods]
        try:
            yield [MLflowServer(self.cluster, way, self.name) for way in ways]
        finally:
            for way in ways:
                way.close()

    def failures(self) -> list[str]:
        """Return what containers of the server's pods said when they failed."""
        told: list[str] = []
        for pod in self.cluster.list("Pod", self.servers):
            status = pod.get("status", {})
            for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
                ends = (container.get(state, {}).get("terminated") or {} for state in ("state", "lastState"))
                told += [end.get("message", "") for end in ends if end.get("exitCode")]
        return told

    def scale(self, replicas: int) -> None:
        """Stop the server, or start it again."""
        self.way.close()
        self.cluster.kubectl("scale", f"deployment/{self.name}", f"--replicas={replicas}")
        self.wait_ready(replicas)

    def kill(self) -> None:
        """Delete the server's pod without a warning, and wait for the next one."""
        self.way.close()
        (pod,) = self.cluster.list("Pod", self.servers)
        self.cluster.delete("Pod", pod["metadata"]["name"], grace_period=0)
        self.cluster.wait_gone("Pod", pod["metadata"]["name"], 60)
        self.wait_ready(1)

    def wait_ready(self, replicas: int) -> None:
        """Wait until so many servers answer, which takes the database."""
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
    server = MLflowServer(namespace, PortForward(namespace.namespace, f"service/{name}", PORT), name)
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
    helm(namespace, *upgrade(**values), "--wait", "--timeout=180s")


def upgrade(**values: str) -> list[str]:
    """Return the arguments of Helm that install the chart, or upgrade it."""
    given = [f"--set={name}={value}" for name, value in {**of_image(image()), **values}.items()]
    return ["upgrade", "--install", "mlflow", str(CHECKOUT / "charts/mlflow"), *given]


def of_image(reference: str) -> dict[str, str]:
    """Return the values that name an image."""
    repository, _, tag = reference.rpartition(":")
    return {"image.repository": repository, "image.tag": tag}


def helm(namespace: Cluster, *arguments: str, fails: bool = False) -> str:
    """Run Helm in a namespace and return what it says; it has to fail where that is asked for, and only there."""
    command = ["helm", *arguments, "--namespace", namespace.namespace]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert (done.returncode != 0) == fails, f"{' '.join(command)}: {done.stdout}"
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
