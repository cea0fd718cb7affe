"""What the end-to-end tests share: the cluster with the operator installed by its chart, namespaces, an S3 server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from cluster import Cluster
from kubeflow_server import KubeflowServer, kubeflow_server
from manifests import ORCHESTRATORS, RESTRICTED, WORKLOADS, component, python, run, s3, secret, stack
from mlflow_server import MLflowServer, mlflow_server, recorded
from postgresql import PostgreSQL, postgresql
from s3 import S3Server, s3_server

LAST = (
    "test_managed_mlflow_faults.py",
    "test_tracking_faults.py",
    "test_kubeflow_faults.py",
    "test_faults.py",
    "test_leadership.py",
    "test_upgrade.py",
    "test_restore.py",
    "test_permissions.py",
    "test_uninstall.py",
    "test_install.py",
)
"""Faults that concern all, tests of what the others leave behind, and the ends of the operator, in this order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `LAST` last."""
    items.sort(key=lambda item: LAST.index(item.path.name) + 1 if item.path.name in LAST else 0)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, its operator ready."""
    cluster = Cluster.connect("cairn-system")
    cluster.wait("Deployment", "cairn", lambda body: body.get("status", {}).get("readyReplicas") == 1, 60)
    return cluster


@pytest.fixture(scope="module", params=ORCHESTRATORS)
def orchestrator(request: pytest.FixtureRequest) -> str:
    """The name of a stack with that orchestrator."""
    return request.param


@pytest.fixture(scope="module", params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> str:
    """The name of a stack; each makes an attempt as something else."""
    return request.param


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace of the test's own that allows restricted pods only."""
    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        yield namespace


@pytest.fixture(scope="session")
def s3_service(cluster: Cluster) -> Iterator[S3Server]:
    """An S3 server in the cluster."""
    with s3_server(cluster) as server:
        yield server


@pytest.fixture
def bucket(s3_service: S3Server) -> str:
    """A bucket of the test's own."""
    return s3_service.make_bucket(f"e2e-{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def shared_bucket(s3_service: S3Server) -> str:
    """The bucket of `shared_stacks`."""
    return s3_service.make_bucket(f"e2e-{secrets.token_hex(4)}")


@pytest.fixture
def stacks(namespace: Cluster, s3_service: S3Server, bucket: str) -> Cluster:
    """A namespace with two ready Stacks on one bucket, named `kubernetes` and `local` after their orchestrators."""
    return _with_stacks(namespace, s3_service, bucket)


@pytest.fixture(scope="module")
def shared_stacks(cluster: Cluster, s3_service: S3Server, shared_bucket: str) -> Iterator[Cluster]:
    """Such a namespace for all tests of a module, whose runs can then go on at the same time."""
    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        yield _with_stacks(namespace, s3_service, shared_bucket)


@pytest.fixture(scope="module")
def mlflow(cluster: Cluster) -> Iterator[MLflowServer]:
    """A server without log-in."""
    with (
        cluster.temporary_namespace(f"e2e-mlflow-{secrets.token_hex(4)}", RESTRICTED) as namespace,
        mlflow_server(namespace) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def kubeflow(cluster: Cluster, s3_service: S3Server) -> Iterator[KubeflowServer]:
    """Kubeflow Pipelines for one user, without a log-in."""
    with kubeflow_server(cluster, s3_service) as server:
        yield server


@pytest.fixture(scope="module")
def kubeflow_stack(shared_stacks: Cluster, kubeflow: KubeflowServer) -> Cluster:
    """A namespace that has, besides the others, a ready Stack named `kubeflow`."""
    shared_stacks.apply(component("kubeflow", kubeflow.component()))
    shared_stacks.apply(stack("kubeflow", orchestrator="kubeflow", store="bucket"))
    shared_stacks.wait_condition("Stack", "kubeflow", "Ready", status="True", timeout=30)
    return shared_stacks


@pytest.fixture
def database(namespace: Cluster) -> PostgreSQL:
    """A PostgreSQL server in the test's namespace."""
    return postgresql(namespace)


@pytest.fixture
def stateless(namespace: Cluster, database: PostgreSQL, s3_service: S3Server, bucket: str) -> dict[str, str]:
    """Values of an MLflow server that keeps runs in that database and artifacts in the test's bucket."""
    namespace.apply(secret("s3-credentials", **s3_service.credentials))
    return {
        "postgresql.uriSecret.name": database.secret,
        "artifacts.destination": f"s3://{bucket}/mlflow",
        "artifacts.s3.endpoint": s3_service.endpoint,
        "artifacts.s3.addressingStyle": "path",
        "artifacts.s3.credentialsSecret": "s3-credentials",
    }


@pytest.fixture(scope="module")
def tracked(shared_stacks: Cluster, mlflow: MLflowServer) -> Cluster:
    """A namespace with a Stack for each orchestrator, whose runs are recorded."""
    config = {"mlflow": {"uri": mlflow.uri, "externalURL": "https://mlflow.example.com", "experimentPrefix": "team-a/"}}
    shared_stacks.apply(component("mlflow", {"experimentTracker": config}))
    for orchestrator in ORCHESTRATORS:
        tracks = {"experimentTrackerRef": {"name": "mlflow"}}
        shared_stacks.apply(stack(f"tracked-{orchestrator}", orchestrator=orchestrator, store="bucket", **tracks))
    for orchestrator in ORCHESTRATORS:
        shared_stacks.wait_condition("Stack", f"tracked-{orchestrator}", "Ready", status="True", timeout=30)
    # A server that has just started takes longer for its first answers than a step waits to know where it is recorded.
    shared_stacks.create(run("first", [python("only", "pass")], on="tracked-kubernetes"))
    recorded(shared_stacks, "first")
    return shared_stacks


def _with_stacks(namespace: Cluster, s3_service: S3Server, bucket: str) -> Cluster:
    namespace.apply(secret("s3-credentials", **s3_service.credentials))
    namespace.apply(component("bucket", s3(bucket, s3_service.endpoint)))
    namespace.apply(component("kubernetes", {"orchestrator": {"kubernetes": {}}}))
    namespace.apply(component("pods", {"orchestrator": {"kubernetes": {"workload": "Pod"}}}))
    namespace.apply(component("local", {"orchestrator": {"local": {}}}))
    for orchestrator in WORKLOADS:
        namespace.apply(stack(orchestrator, orchestrator=orchestrator, store="bucket"))
    for orchestrator in WORKLOADS:
        namespace.wait_condition("Stack", orchestrator, "Ready", status="True", timeout=30)
    return namespace
