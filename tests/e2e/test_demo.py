"""The demo does what it says: a stack that is ready, a run that trains a model, a report that any S3 client can read."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Body, Cluster, artifacts, results, states, step
from kubeflow_server import KubeflowServer
from manifests import component, s3, secret, stack
from s3 import S3Server

DEMO = Path(__file__).parents[2] / "manifests" / "demo"
NAMESPACE = "cairn-demo"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[Cluster]:
    """The demo's namespace, which stays if there was one before."""
    existed = cluster.get("Namespace", NAMESPACE) is not None
    yield cluster.within(NAMESPACE)
    if not existed:
        cluster.delete("Namespace", NAMESPACE)


@pytest.fixture(scope="module")
def finished(namespace: Cluster) -> Body:
    """The run that the demo makes."""
    shown = subprocess.run(["bash", str(DEMO / "run.sh")], capture_output=True, text=True, timeout=420, check=False)
    assert shown.returncode == 0, f"{shown.stdout}\n{shown.stderr}"
    ended = re.search(r"^(breast-cancer-\d+) succeeded after .+\.$", shown.stdout, re.MULTILINE)
    assert ended is not None, shown.stdout
    assert re.search(r"^Model breast-cancer, version \d+, alias champion: s3://", shown.stdout, re.MULTILINE), (
        shown.stdout
    )
    return namespace.finished(ended[1])


@pytest.fixture
def on_kubeflow(
    finished: Body, namespace: Cluster, kubeflow: KubeflowServer, s3_service: S3Server, bucket: str
) -> Iterator[Body]:
    """The same run on Kubeflow Pipelines, with the demo's tracker and model registry."""
    objects: list[Body] = [
        secret("kubeflow-bucket", **s3_service.credentials),
        component("kubeflow-bucket", s3(bucket, s3_service.endpoint, credentials="kubeflow-bucket")),
        component("kubeflow", kubeflow.component()),
        stack(
            "kubeflow",
            orchestrator="kubeflow",
            store="kubeflow-bucket",
            experimentTrackerRef={"name": "mlflow"},
            modelRegistryRef={"name": "models"},
        ),
        {
            **{name: finished[name] for name in ("apiVersion", "kind")},
            "metadata": {"name": f"{finished['metadata']['name']}-kubeflow"},
            "spec": {**finished["spec"], "stackRef": {"name": "kubeflow"}},
        },
    ]
    for body in objects:
        namespace.apply(body)
    try:
        yield namespace.finished(objects[-1]["metadata"]["name"], timeout=420)
    finally:
        for body in reversed(objects):
            namespace.delete(body["kind"], body["metadata"]["name"])


def test_on_kubeflow_pipelines_it_gives_the_same(finished: Body, on_kubeflow: Body) -> None:
    assert states(on_kubeflow) == states(finished)
    for name in states(finished):
        assert results(on_kubeflow, name) == results(finished, name)
        assert _digests(on_kubeflow, name) == _digests(finished, name)
    assert len(on_kubeflow["status"]["registrations"]) == len(finished["status"]["registrations"])


def _digests(run: Body, name: str) -> dict[str, str]:
    """Return the digests of what a step wrote, but of what is another each time.

    MLflow gives each model a UUID and the time, and the report's page has the name of the run.
    """
    found = artifacts(run, name)
    return {artifact: item["digest"] for artifact, item in found.items() if artifact not in {"model", "page"}}


def test_every_step_succeeds_and_tells_its_results(finished: Body) -> None:
    assert set(states(finished).values()) == {"Succeeded"}
    assert {"columns", "rows", "test_rows"} == {result["name"] for result in step(finished, "load")["results"]}
    assert "test_accuracy" in {result["name"] for result in step(finished, "compare")["results"]}


@pytest.mark.parametrize(
    ("artifact", "begins"),
    [("report.page", b"<!doctype html>"), ("report.plot", b"\x89PNG"), ("compare.metrics", b"{")],
)
def test_what_is_downloaded_has_the_digest_of_the_status(
    finished: Body, artifact: str, begins: bytes, tmp_path: Path
) -> None:
    step_name, name = artifact.split(".")
    told = next(item for item in step(finished, step_name)["artifacts"] if item["name"] == name)
    file = tmp_path / name

    subprocess.run([str(DEMO / "download.sh"), told["uri"], str(file)], check=True, capture_output=True, timeout=60)

    content = file.read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == told["digest"]
    assert len(content) == told["sizeBytes"]
    assert content.startswith(begins)
