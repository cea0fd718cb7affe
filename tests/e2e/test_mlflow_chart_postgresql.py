"""The chart of MLflow's tracking server, on PostgreSQL and with its artifacts in a bucket."""

from __future__ import annotations

import base64
import json

import pytest

from cluster import Cluster
from mlflow_server import SERVERS, MLflowServer, helm, install, mlflow_server, upgrade
from polling import poll
from postgresql import PostgreSQL
from s3 import S3Server

MIGRATION = "mlflow-migration"
CHANGE = {"resources.requests.memory": "601Mi"}
"""What an upgrade changes."""


def release_status(namespace: Cluster) -> str:
    """Return what Helm thinks of the release."""
    return json.loads(helm(namespace, "status", "mlflow", "--output=json"))["info"]["status"]


def migrated_at(namespace: Cluster) -> str:
    """Return when the migration was complete."""
    found = poll(
        lambda: [event for event in namespace.events("Job", MIGRATION) if event["reason"] == "Completed"],
        bool,
        30,
        "no event tells that the migration is complete",
    )
    return found[0]["deprecatedLastTimestamp"]


def test_servers_share_a_database_that_a_job_has_migrated_before_them(
    namespace: Cluster, stateless: dict[str, str]
) -> None:
    with mlflow_server(namespace, replicas="2", **stateless) as server:
        deployment = namespace.get("Deployment", "mlflow")
        assert deployment
        assert migrated_at(namespace) <= deployment["metadata"]["creationTimestamp"]
        assert namespace.get("Job", MIGRATION) is None
        assert namespace.list("PersistentVolumeClaim", "app.kubernetes.io/instance=mlflow") == []

        server.ask("experiments/create", {"name": "shared"})
        with server.each() as servers:
            assert ["shared" in one.experiments() for one in servers] == [True, True]
        namespace.wait(
            "PodDisruptionBudget",
            "mlflow",
            lambda body: body.get("status", {}).get("expectedPods") == 2 and body["status"]["disruptionsAllowed"] == 1,
            30,
        )


def test_an_upgrade_of_a_newer_database_is_refused_with_the_reason_and_the_server_goes_on(
    namespace: Cluster, database: PostgreSQL, stateless: dict[str, str]
) -> None:
    with mlflow_server(namespace, **stateless) as server:
        server.ask("experiments/create", {"name": "kept"})
        schema = database.sql("SELECT version_num FROM alembic_version").strip()
        database.sql("UPDATE alembic_version SET version_num = 'f00dfeed0000'")

        helm(namespace, *upgrade(**stateless, **CHANGE), "--wait", "--timeout=180s", fails=True)

        assert release_status(namespace) == "failed"
        log = namespace.kubectl("logs", f"job/{MIGRATION}")
        assert "newer than" in log
        assert "install the newer version again, or restore a backup" in log
        assert "kept" in server.experiments()

        database.sql(f"UPDATE alembic_version SET version_num = '{schema}'")  # noqa: S608 - read above
        install(namespace, **stateless, **CHANGE)
        server.way.close()
        assert release_status(namespace) == "deployed"
        assert "kept" in server.experiments()


@pytest.mark.full
@pytest.mark.parametrize("auth", ["false", "true"])
def test_an_upgrade_without_the_database_fails_in_time_and_the_servers_go_on_when_it_is_back(
    namespace: Cluster, database: PostgreSQL, stateless: dict[str, str], auth: str
) -> None:
    values = {**stateless, "auth.enabled": auth}
    with mlflow_server(namespace, **values) as server:
        who = {"Authorization": log_in(namespace)} if auth == "true" else {}
        server.ask("experiments/create", {"name": "kept"}, **who)
        (before,) = names(namespace)
        database.scale(0)

        values |= {**CHANGE, "migration.timeoutSeconds": "15"}
        said = helm(namespace, *upgrade(**values), "--wait", "--timeout=120s", fails=True)

        assert "DeadlineExceeded" in said
        assert release_status(namespace) == "failed"
        server.wait_ready(0)
        database.scale(1)
        server.wait_ready(1)
        assert "kept" in server.experiments(**who)
        assert names(namespace) == [before]


@pytest.mark.full
def test_users_log_in_at_every_server_and_artifacts_go_through_it(
    namespace: Cluster, database: PostgreSQL, stateless: dict[str, str], s3_service: S3Server, bucket: str
) -> None:
    with mlflow_server(namespace, replicas="2", **{"auth.enabled": "true"}, **stateless) as server:
        assert "Phase:          Succeeded" in helm(namespace, "test", "mlflow")
        assert any(key.endswith("tested.txt") for key in s3_service.keys(f"s3://{bucket}/mlflow"))
        assert artifact_location(server, Authorization=log_in(namespace)).startswith("mlflow-artifacts:/")

        assert database.sql("SELECT username FROM users WHERE is_admin").split() == ["admin"]
        with server.each() as servers:
            assert [one.refusal("experiments/search?max_results=1") for one in servers] == [401, 401]
            assert ["helm-test" in one.experiments(Authorization=log_in(namespace)) for one in servers] == [True, True]


@pytest.mark.full
def test_clients_write_to_the_bucket_themselves(
    namespace: Cluster, stateless: dict[str, str], s3_service: S3Server, bucket: str
) -> None:
    with mlflow_server(namespace, **{"artifacts.access": "Direct"}, **stateless) as server:
        assert "Phase:          Succeeded" in helm(namespace, "test", "mlflow")
        assert artifact_location(server).startswith(f"s3://{bucket}/mlflow/")
        assert any(key.endswith("tested.txt") for key in s3_service.keys(f"s3://{bucket}/mlflow"))


def names(namespace: Cluster) -> list[str]:
    """Return the names of the servers' pods."""
    return [pod["metadata"]["name"] for pod in namespace.list("Pod", SERVERS)]


def log_in(namespace: Cluster) -> str:
    """Return the header by which the first user logs in."""
    secret = namespace.get("Secret", "mlflow-auth")
    assert secret
    pair = b":".join(base64.b64decode(secret["data"][key]) for key in ("username", "password"))
    return f"Basic {base64.b64encode(pair).decode()}"


def artifact_location(server: MLflowServer, **headers: str) -> str:
    """Return where clients send the artifacts of the experiment that `helm test` leaves."""
    found = server.ask("experiments/get-by-name?experiment_name=helm-test", None, **headers)
    return found["experiment"]["artifact_location"]
