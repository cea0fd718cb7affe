"""The database of an MLflow server that a StackComponent asks for is away."""

from __future__ import annotations

from typing import Any

import pytest

from cluster import Cluster
from managed_mlflow import failed, ready, server
from manifests import secret
from mlflow_server import way_to
from postgresql import PostgreSQL

pytestmark = pytest.mark.full

UNESCAPED = "postgresql://mlflow:third@4th-part/of@postgresql:5432/postgres"
NOWHERE = "postgresql+psycopg2://mlflow:password-of-nobody@nowhere:5432/postgres"


def on(database: str) -> dict[str, Any]:
    """Return the fields of a server whose database a Secret names."""
    return {"backendStore": {"postgresql": {"uriSecretRef": {"name": database, "key": "uri"}}}}


@pytest.fixture
def tracking(namespace: Cluster, database: PostgreSQL) -> Cluster:
    """A namespace with a server that has recorded something in PostgreSQL."""
    namespace.apply(server("tracking", **on("postgresql")))
    ready(namespace, "tracking")
    with way_to(namespace, "tracking-server") as mlflow:
        mlflow.ask("experiments/create", {"name": "kept"})
    return namespace


def has_what_was_recorded(namespace: Cluster) -> bool:
    """Return whether the server answers, from its database."""
    with way_to(namespace, "tracking-server") as mlflow:
        return "kept" in mlflow.experiments()


def test_it_is_told_with_the_way_to_the_reason_until_it_is_back(tracking: Cluster, database: PostgreSQL) -> None:
    database.scale(0)
    (pod,) = tracking.list("Pod", "app.kubernetes.io/component=server")

    told = failed(tracking, "tracking", "EndpointUnreachable")

    assert f"kubectl describe pod {pod['metadata']['name']}" in told
    database.scale(1)
    ready(tracking, "tracking")
    assert has_what_was_recorded(tracking)


def test_an_upgrade_to_it_fails_with_the_reason_and_the_old_server_serves(tracking: Cluster) -> None:
    tracking.apply(secret("other", uri=NOWHERE))
    tracking.apply(server("tracking", **on("other")))

    told = failed(tracking, "tracking", "HelmUpgradeFailed")

    assert 'could not translate host name "nowhere"' in told
    assert "password-of-nobody" not in told
    assert has_what_was_recorded(tracking)
    tracking.apply(server("tracking", **on("postgresql")))
    ready(tracking, "tracking")


def test_a_password_that_is_not_escaped_is_told_without_a_part_of_it(namespace: Cluster) -> None:
    namespace.apply(secret("unescaped", uri=UNESCAPED))
    namespace.apply(server("tracking", **on("unescaped")))

    told = failed(namespace, "tracking", "HelmInstallFailed")

    (pod,) = namespace.list("Pod", "app.kubernetes.io/component=migration")
    assert "special in its password is not escaped; write %40 for an at sign" in told
    assert "4th-part" not in told + namespace.kubectl("logs", pod["metadata"]["name"])
