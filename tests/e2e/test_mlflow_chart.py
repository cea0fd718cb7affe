"""The chart of MLflow's tracking server, installed without the operator, in namespaces that allow restricted pods only."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator

import pytest

from cluster import Cluster
from manifests import RESTRICTED, secret
from mlflow_server import MLflowServer, helm, install, mlflow_server
from polling import poll
from s3 import S3Server

SEARCH = "experiments/search?max_results=10"
NEWER = """
import sqlite3
database = sqlite3.connect("/mlflow/mlflow.db")
database.execute("UPDATE alembic_version SET version_num = 'f00dfeed0000'")
database.commit()
"""


@pytest.fixture
def own_namespace(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace for one server."""
    with cluster.temporary_namespace(f"e2e-mlflow-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        yield namespace


@pytest.fixture
def plain(own_namespace: Cluster) -> Iterator[MLflowServer]:
    """A server as the chart makes it unless told otherwise: SQLite and artifacts on a volume, no log-in."""
    with mlflow_server(own_namespace) as server:
        yield server


def test_it_records_and_keeps_what_it_has_when_it_is_upgraded_and_installed_anew(plain: MLflowServer) -> None:
    assert "Phase:          Succeeded" in helm(plain.cluster, "test", "mlflow")
    plain.ask("experiments/create", {"name": "kept"})

    install(plain.cluster, **{"resources.requests.memory": "601Mi"})
    plain.way.close()
    upgraded = plain.experiments()
    helm(plain.cluster, "uninstall", "mlflow", "--wait")
    install(plain.cluster)
    plain.way.close()

    assert "kept" in upgraded
    assert "kept" in plain.experiments()


def test_it_answers_to_its_own_names_only(plain: MLflowServer) -> None:
    namespace = plain.cluster.namespace

    for host in (f"mlflow.{namespace}:5000", f"mlflow.{namespace}.svc.cluster.local:5000"):
        assert plain.ask(SEARCH, Host=host)
    assert plain.refusal(SEARCH, Host="evil.example.com") == 403


def test_a_server_that_has_just_started_ends_as_soon_as_it_is_told_to(plain: MLflowServer) -> None:
    cluster, servers = plain.cluster, "app.kubernetes.io/component=server"
    (first,) = cluster.list("Pod", servers)
    cluster.delete("Pod", first["metadata"]["name"])
    new = poll(
        lambda: [
            pod["metadata"]["name"]
            for pod in cluster.list("Pod", servers)
            for container in pod["status"].get("containerStatuses", ())
            if pod["metadata"]["uid"] != first["metadata"]["uid"] and "running" in container["state"]
        ],
        bool,
        60,
        "no other server starts",
    )

    cluster.delete("Pod", new[0])

    cluster.wait_gone("Pod", new[0], 30)


def test_a_database_of_a_newer_version_is_refused_with_the_reason(plain: MLflowServer) -> None:
    plain.cluster.kubectl("exec", "deployment/mlflow", "--", "python", "-c", NEWER)
    plain.cluster.kubectl("rollout", "restart", "deployment/mlflow")

    told = poll(plain.failures, bool, 120, "the server is not refused")

    assert "newer than" in told[0]
    assert "install the newer version again, or restore a backup" in told[0]


def test_users_log_in_and_artifacts_go_to_the_bucket_by_way_of_the_server(
    own_namespace: Cluster, s3_service: S3Server, bucket: str
) -> None:
    own_namespace.apply(secret("s3-credentials", **s3_service.credentials))
    values = {
        "auth.enabled": "true",
        "artifacts.destination": f"s3://{bucket}/mlflow",
        "artifacts.s3.endpoint": s3_service.endpoint,
        "artifacts.s3.addressingStyle": "path",
        "artifacts.s3.credentialsSecret": "s3-credentials",
    }
    with mlflow_server(own_namespace, **values) as server:
        assert "Phase:          Succeeded" in helm(own_namespace, "test", "mlflow")
        log_in = (own_namespace.get("Secret", "mlflow-auth") or {})["data"]
        pair = b":".join(base64.b64decode(log_in[key]) for key in ("username", "password"))

        assert server.refusal(SEARCH) == 401
        assert server.ask(SEARCH, Authorization=f"Basic {base64.b64encode(pair).decode()}")
        assert any(key.endswith("tested.txt") for key in s3_service.keys(f"s3://{bucket}/mlflow"))
