"""The chart of MLflow's tracking server is upgraded from the MLflow before, and there is no way back."""

from __future__ import annotations

import json

import pytest

from cluster import Cluster
from images import image
from mlflow_server import SERVERS, MLflowServer, helm, install, mlflow_server, of_image, upgrade
from polling import poll

pytestmark = pytest.mark.full

RECORD = """
import mlflow
mlflow.set_experiment("before")
with mlflow.start_run(run_name="kept"):
    mlflow.log_param("alpha", 0.5)
    mlflow.log_metric("loss", 0.25, step=3)
    mlflow.log_text("kept", "notes/kept.txt")
"""
READ = """
import json, mlflow
(run,) = mlflow.search_runs(experiment_names=["before"], output_format="list")
(point,) = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/kept.txt")
print(json.dumps([run.info.run_id, run.info.run_name, run.info.status, run.data.params, point.step, point.value, text]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def values(request: pytest.FixtureRequest) -> dict[str, str]:
    """Values of a server on SQLite and a volume, and of one on PostgreSQL and a bucket."""
    return {} if request.param == "sqlite" else request.getfixturevalue("stateless")


def test_what_the_version_before_recorded_is_kept_and_going_back_is_refused(
    namespace: Cluster, values: dict[str, str]
) -> None:
    before = {**values, **of_image(image("MLFLOW_PREVIOUS_IMAGE"))}
    with mlflow_server(namespace, **before) as server:
        old = version(namespace)
        python(namespace, RECORD)
        recorded = read(namespace)
        assert recorded[1:] == ["kept", "FINISHED", {"alpha": "0.5"}, 3, 0.25, "kept"]

        install(namespace, **values)
        new = version(namespace)
        assert tuple(map(int, old.split("."))) < tuple(map(int, new.split(".")))
        assert read(namespace) == recorded

        refusal = go_back(server, before)
        assert f"was upgraded by an MLflow newer than {old}" in refusal
        assert "install the newer version again, or restore a backup" in refusal
        if not values:  # with PostgreSQL the server goes on
            install(namespace, **values)
        assert version(namespace) == new
        assert read(namespace) == recorded


def go_back(server: MLflowServer, before: dict[str, str]) -> str:
    """Try to install the version before, and return why that is refused."""
    if "postgresql.uriSecret.name" in before:
        helm(server.cluster, *upgrade(**before), "--wait", "--timeout=180s", fails=True)
        return server.cluster.kubectl("logs", "job/mlflow-migration")
    helm(server.cluster, *upgrade(**before))
    return poll(server.failures, bool, 120, "the server is not refused")[0]


def version(namespace: Cluster) -> str:
    """Return the version of MLflow that serves."""
    return python(namespace, "import mlflow; print(mlflow.__version__)")


def read(namespace: Cluster) -> list[object]:
    """Return what a client finds of what `RECORD` records."""
    return json.loads(python(namespace, READ))


def python(namespace: Cluster, script: str) -> str:
    """Run a script beside the one server, as its client, and return the last line it prints."""
    (pod,) = poll(lambda: namespace.list("Pod", SERVERS), lambda found: len(found) == 1, 120, "one server is left")
    client = ("env", "MLFLOW_TRACKING_URI=http://localhost:5000", "python", "-c", script)
    said = namespace.kubectl("exec", pod["metadata"]["name"], "--container=server", "--", *client)
    return (said.splitlines() or [""])[-1]
