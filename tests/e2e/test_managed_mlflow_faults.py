"""The operator is killed while Helm is at work, and the next one finishes it."""

from __future__ import annotations

import pytest

from cluster import Cluster
from faults import ready_operator
from managed_mlflow import ready, server
from mlflow_server import way_to
from polling import poll

pytestmark = [pytest.mark.alone, pytest.mark.full]


def kill_operator_when(cluster: Cluster, namespace: Cluster, status: str) -> None:
    """Kill the operator as soon as Helm has written down that it is at something."""
    pod = ready_operator(cluster)
    selector = f"owner=helm,status={status}"
    poll(lambda: namespace.list("Secret", selector), bool, 60, f"no release was {status}")
    cluster.delete("Pod", pod, grace_period=0)
    ready_operator(cluster, gone=pod)


def test_at_an_install(cluster: Cluster, namespace: Cluster) -> None:
    namespace.apply(server("tracking"))
    kill_operator_when(cluster, namespace, "pending-install")

    ready(namespace, "tracking")

    assert len(namespace.list("Secret", "owner=helm,status=deployed")) == 1


def test_at_an_upgrade(cluster: Cluster, namespace: Cluster) -> None:
    namespace.apply(server("tracking"))
    ready(namespace, "tracking")
    with way_to(namespace, "tracking-server") as mlflow:
        mlflow.ask("experiments/create", {"name": "kept"})

    namespace.apply(server("tracking", values={"podLabels": {"team": "a"}}))
    kill_operator_when(cluster, namespace, "pending-upgrade")
    ready(namespace, "tracking")

    assert len(namespace.list("Pod", "team=a")) == 1
    with way_to(namespace, "tracking-server") as mlflow:
        assert mlflow.ask("experiments/get-by-name?experiment_name=kept")


def test_at_an_uninstall(cluster: Cluster, namespace: Cluster) -> None:
    namespace.apply(server("tracking", deletionPolicy="Delete"))
    ready(namespace, "tracking")

    namespace.delete("StackComponent", "tracking")
    kill_operator_when(cluster, namespace, "uninstalling")
    namespace.wait_gone("StackComponent", "tracking", 180)

    assert namespace.get("Deployment", "tracking-server") is None
    assert namespace.list("Secret", "owner=helm") == []
