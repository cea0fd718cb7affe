"""Kubeflow Pipelines fails, and people interfere: each PipelineRun is one run there, and ends as it should."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, condition, states, step
from faults import ready_operator
from kubeflow_server import KubeflowServer, kubeflow_server
from manifests import HOLD, component, python, run, secret, stack
from s3 import S3Server

pytestmark = pytest.mark.full

AWAY_SECONDS = 60
TOLD_SECONDS = 40
"""Within which people are told: it is not after the first request that fails."""
KILLS = 20


@pytest.fixture(scope="module")
def server(cluster: Cluster, s3_service: S3Server) -> Iterator[KubeflowServer]:
    """A server that is made to fail."""
    with kubeflow_server(cluster, s3_service) as found:
        yield found


@pytest.fixture
def failing(server: KubeflowServer) -> Iterator[KubeflowServer]:
    """The same; what a test has it do ends with the test."""
    yield server
    server.recovers()


@pytest.fixture(scope="module")
def namespace_with_stack(shared_stacks: Cluster, server: KubeflowServer) -> Cluster:
    """A namespace with a ready Stack `kubeflow` on that server, beside those of the other orchestrators."""
    return _with_stack(shared_stacks, "kubeflow", server.component())


def _with_stack(namespace: Cluster, name: str, spec: Body) -> Cluster:
    namespace.apply(component(name, spec))
    namespace.apply(stack(name, orchestrator=name, store="bucket"))
    namespace.wait_condition("Stack", name, "Ready", status="True", timeout=60)
    return namespace


def _away(server: KubeflowServer) -> None:
    server.fails(drop="before", path="^/apis", seconds=AWAY_SECONDS)


def _told(namespace: Cluster, name: str, reason: str, timeout: float = TOLD_SECONDS) -> None:
    """Wait until a run says why it does not go on."""

    def holds(body: Body) -> bool:
        found = condition(body, "Succeeded")
        return reason in f"{found.get('reason')}: {found.get('message')}"

    namespace.wait("PipelineRun", name, holds, timeout, reason)


def _running(namespace: Cluster, name: str) -> None:
    namespace.wait("PipelineRun", name, lambda body: states(body).get("holds") == "Running", 120)


def _completed(namespace: Cluster, server: KubeflowServer, name: str, timeout: float = 180) -> None:
    """Wait until a run has completed, having been one run there."""
    finished = namespace.finished(name, timeout)
    assert condition(finished, "Succeeded")["reason"] == "Completed", finished["status"]
    (there,) = server.runs_of(finished)
    assert there["state"] == "SUCCEEDED"


def test_the_server_is_away_when_a_run_is_to_be_submitted(
    namespace_with_stack: Cluster, failing: KubeflowServer
) -> None:
    _away(failing)
    namespace_with_stack.create(run("submitted-late", [python("only", "pass")], on="kubeflow"))
    namespace_with_stack.create(run("beside", [python("only", "pass")], on="kubernetes"))

    _told(namespace_with_stack, "submitted-late", "Kubeflow Pipelines at")  # the run says so, or its component
    assert condition(namespace_with_stack.finished("beside", 60), "Succeeded")["reason"] == "Completed"

    _completed(namespace_with_stack, failing, "submitted-late")


def test_the_server_is_away_while_a_run_is_under_way(namespace_with_stack: Cluster, failing: KubeflowServer) -> None:
    namespace_with_stack.create(
        run("goes-on", [python("holds", HOLD), python("last", "pass", dependsOn=["holds"])], on="kubeflow")
    )
    _running(namespace_with_stack, "goes-on")

    _away(failing)
    _told(namespace_with_stack, "goes-on", "EndpointUnreachable")
    _release(namespace_with_stack, failing, "goes-on")

    _completed(namespace_with_stack, failing, "goes-on")


def test_the_server_is_away_when_a_run_is_to_be_terminated(
    namespace_with_stack: Cluster, failing: KubeflowServer
) -> None:
    namespace_with_stack.create(run("cancelled-late", [python("holds", HOLD)], on="kubeflow"))
    _running(namespace_with_stack, "cancelled-late")

    _away(failing)
    namespace_with_stack.patch("PipelineRun", "cancelled-late", {"spec": {"cancel": "Graceful"}})
    _told(namespace_with_stack, "cancelled-late", "cannot be reached")

    finished = namespace_with_stack.finished("cancelled-late", 180)
    assert condition(finished, "Succeeded")["reason"] == "Cancelled"
    (there,) = failing.runs_of(finished)
    assert there["state"] in {"CANCELING", "FAILED"}


def test_the_server_is_away_when_a_run_is_deleted(namespace_with_stack: Cluster, failing: KubeflowServer) -> None:
    created = namespace_with_stack.create(run("deleted-late", [python("holds", HOLD)], on="kubeflow"))
    _running(namespace_with_stack, "deleted-late")

    _away(failing)
    namespace_with_stack.delete("PipelineRun", "deleted-late")

    namespace_with_stack.wait_gone("PipelineRun", "deleted-late", 180)
    (there,) = failing.runs_of(created)
    assert there["state"] in {"CANCELING", "FAILED"}


def test_too_many_requests(namespace_with_stack: Cluster, failing: KubeflowServer) -> None:
    failing.fails(status=429, headers={"Retry-After": "1"}, path="^/apis", seconds=AWAY_SECONDS)
    names = [f"storm-{number}" for number in range(5)]
    for name in names:
        namespace_with_stack.create(run(name, [python("only", "pass")], on="kubeflow"))

    _told(namespace_with_stack, names[0], "asks for fewer requests")  # the run says so, or its component

    for name in names:
        _completed(namespace_with_stack, failing, name)


def test_the_answer_to_a_submission_is_lost(namespace_with_stack: Cluster, failing: KubeflowServer) -> None:
    failing.fails(drop="after", method="POST", path="/runs$", count=1)

    namespace_with_stack.create(run("unanswered", [python("only", "pass")], on="kubeflow"))

    _completed(namespace_with_stack, failing, "unanswered")


def test_a_run_that_somebody_deletes_there(namespace_with_stack: Cluster, server: KubeflowServer) -> None:
    steps = [python("holds", HOLD), python("last", "pass", dependsOn=["holds"])]
    namespace_with_stack.create(run("deleted-there", steps, on="kubeflow"))
    _running(namespace_with_stack, "deleted-there")
    body = namespace_with_stack.get("PipelineRun", "deleted-there")
    assert body is not None

    server.ask("DELETE", f"/apis/v2beta1/runs/{body['status']['orchestratorRun']['id']}")

    finished = namespace_with_stack.finished("deleted-there", 60)
    assert condition(finished, "Succeeded")["reason"] == "StepFailed"
    assert step(finished, "holds")["reason"] == "KubeflowRunDeleted"


def test_a_token_expires(shared_stacks: Cluster, s3_service: S3Server, cluster: Cluster) -> None:
    with kubeflow_server(cluster, s3_service, "--token=first") as server:
        shared_stacks.apply(secret("kubeflow-token", token="first"))  # noqa: S106 - of a server of this test
        auth = {"tokenSecretRef": {"name": "kubeflow-token", "key": "token"}}
        _with_stack(shared_stacks, "logs-in", server.component(auth=auth))
        shared_stacks.create(run("expires", [python("holds", HOLD)], on="logs-in"))
        _running(shared_stacks, "expires")

        server.wants_token("second")
        _told(shared_stacks, "expires", "Unauthorized")
        shared_stacks.apply(secret("kubeflow-token", token="second"))  # noqa: S106 - of a server of this test
        _release(shared_stacks, server, "expires")

        finished = shared_stacks.finished("expires", 120)
        assert condition(finished, "Succeeded")["reason"] == "Completed"
        assert len(server.runs_of(finished)) == 1


@pytest.mark.alone
def test_the_operator_is_killed_again_and_again(
    cluster: Cluster, namespace_with_stack: Cluster, server: KubeflowServer
) -> None:
    names = [f"killed-{number}" for number in range(KILLS)]
    pod = ready_operator(cluster)
    for name in names:
        steps = [python("first", "import time; time.sleep(5)"), python("last", "pass", dependsOn=["first"])]
        namespace_with_stack.create(run(name, steps, on="kubeflow"))
        cluster.delete("Pod", pod, grace_period=0)
        pod = ready_operator(cluster, gone=pod)

    for name in names:
        _completed(namespace_with_stack, server, name, timeout=300)


def _release(namespace: Cluster, server: KubeflowServer, name: str) -> None:
    """Let the step `holds` go on, in the namespace that its pod is in."""
    body = namespace.get("PipelineRun", name)
    assert body is not None
    server.cluster.kubectl("exec", step(body, "holds")["podName"], "--container", "main", "--", "touch", "/tmp/go")  # noqa: S108 - of the step's container
