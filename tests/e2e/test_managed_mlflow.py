"""MLflow servers that StackComponents ask for are installed, kept, upgraded and removed by Helm."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, condition
from managed_mlflow import PASSWORD, failed, ready, server, tracked_stack, with_log_in
from manifests import python, run
from mlflow_server import helm, recorded, way_to
from polling import poll
from s3 import S3Server

MISSING = {"image": {"repository": "cairn.invalid/mlflow", "tag": "missing"}}


def revisions(namespace: Cluster, release: str) -> list[Body]:
    """Return what Helm says of a release."""
    return json.loads(helm(namespace, "history", release, "--output=json"))


def is_answering(namespace: Cluster, release: str) -> bool:
    """Return whether a server has a pod that is ready."""
    found = namespace.get("Deployment", release) or {}
    return found.get("status", {}).get("readyReplicas", 0) >= 1


@pytest.fixture(scope="module")
def tracking(shared_stacks: Cluster) -> Iterator[Cluster]:
    """A namespace with a server that keeps artifacts in a bucket, and a Stack whose runs it records."""
    shared_stacks.apply(server("tracking", artifactStoreRef={"name": "bucket"}))
    ready(shared_stacks, "tracking")
    tracked_stack(shared_stacks, "tracked", tracker="tracking")
    yield shared_stacks
    shared_stacks.delete("Stack", "tracked")


def test_a_server_is_installed_and_records_a_run(tracking: Cluster) -> None:
    body = tracking.get("StackComponent", "tracking")
    assert body is not None
    assert body["status"]["endpoint"] == f"http://tracking-server.{tracking.namespace}.svc:5000"
    assert "an artifact was written, read back and deleted" in condition(body, "Ready")["message"]
    assert [one["status"] for one in revisions(tracking, "tracking-server")][-1] == "deployed"

    tracking.create(run("first", [python("only", "pass")], on="tracked", experiment="managed"))
    recorded(tracking, "first")

    with way_to(tracking, "tracking-server") as mlflow:
        assert {one.name for one in mlflow.runs("managed")} == {"first", "only"}


def test_what_is_changed_by_hand_is_repaired(tracking: Cluster) -> None:
    before = len(revisions(tracking, "tracking-server"))
    tracking.kubectl("scale", "deployment/tracking-server", "--replicas=0")
    tracking.wait("Deployment", "tracking-server", lambda found: found["spec"]["replicas"] == 1, 60)
    ready(tracking, "tracking")

    tracking.delete("Service", "tracking-server")
    poll(lambda: tracking.get("Service", "tracking-server"), bool, 60, "the Service was not made again")
    ready(tracking, "tracking")

    assert len(revisions(tracking, "tracking-server")) > before


def test_a_changed_spec_is_an_upgrade_that_keeps_what_is_recorded(namespace: Cluster) -> None:
    namespace.apply(server("tracking"))
    ready(namespace, "tracking")
    with way_to(namespace, "tracking-server") as mlflow:
        mlflow.ask("experiments/create", {"name": "kept"})

    namespace.apply(server("tracking", values={"podLabels": {"team": "a"}}))
    namespace.wait_condition(
        "StackComponent", "tracking", "Ready", status="Unknown", reason="HelmUpgrading", timeout=30
    )
    ready(namespace, "tracking")

    (pod,) = namespace.list("Pod", "team=a")
    assert pod["metadata"]["labels"]["cairn.dev/component"] == "tracking"
    with way_to(namespace, "tracking-server") as mlflow:
        assert mlflow.ask("experiments/get-by-name?experiment_name=kept")


def test_a_value_that_the_chart_does_not_know_changes_nothing_and_is_told(namespace: Cluster) -> None:
    namespace.apply(server("tracking"))
    ready(namespace, "tracking")

    namespace.apply(server("tracking", values={"replica": 3}))

    assert "'replica' not allowed" in failed(namespace, "tracking", "HelmUpgradeFailed")
    assert is_answering(namespace, "tracking-server")
    namespace.apply(server("tracking"))
    ready(namespace, "tracking", timeout=30)


def test_an_image_that_cannot_be_pulled_leaves_the_old_server_serving(namespace: Cluster) -> None:
    namespace.apply(server("tracking"))
    ready(namespace, "tracking")
    (before,) = namespace.list("Pod", "app.kubernetes.io/component=server")

    namespace.apply(server("tracking", values=MISSING))
    message = failed(namespace, "tracking", "HelmUpgradeFailed")

    assert "cairn.invalid/mlflow:missing" in message
    assert "ImagePull" in message
    (after,) = namespace.list("Pod", "app.kubernetes.io/component=server")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert is_answering(namespace, "tracking-server")
    namespace.apply(server("tracking"))
    ready(namespace, "tracking")


def test_an_install_that_fails_says_why_and_goes_on_when_it_is_mended(namespace: Cluster) -> None:
    namespace.apply(server("tracking", values=MISSING))
    assert "ImagePull" in failed(namespace, "tracking", "HelmInstallFailed")

    namespace.apply(server("tracking"))

    ready(namespace, "tracking")


def test_a_claim_that_somebody_deletes_is_told_before_anything_is_lost(namespace: Cluster) -> None:
    namespace.apply(server("tracking"))
    ready(namespace, "tracking")
    (before,) = namespace.list("Pod", "app.kubernetes.io/component=server")

    namespace.kubectl("delete", "persistentvolumeclaim/tracking-server", "--wait=false")
    namespace.apply(server("tracking", values={"podLabels": {"team": "a"}}))

    assert "copy it while the server runs" in failed(namespace, "tracking", "ClaimTerminating")
    (after,) = namespace.list("Pod", "app.kubernetes.io/component=server")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_what_leads_to_a_server_and_cleans_up_behind_it_comes_and_goes_with_it(namespace: Cluster) -> None:
    values: Body = {
        "ingress": {"enabled": True, "hosts": ["mlflow.example.com"]},
        "networkPolicy": {"enabled": True},
        "garbageCollection": {"enabled": True},
    }
    kinds = ("ingress", "networkpolicy", "cronjob")
    namespace.apply(server("tracking", values=values))
    ready(namespace, "tracking")
    for kind in kinds:
        assert "tracking-server" in namespace.kubectl("get", kind, "--output=name")

    namespace.delete("StackComponent", "tracking")
    namespace.wait_gone("StackComponent", "tracking", 120)

    assert [namespace.kubectl("get", kind, "--output=name", "--ignore-not-found") for kind in kinds] == ["", "", ""]


def test_servers_of_one_namespace_do_not_meet(namespace: Cluster) -> None:
    namespace.apply(server("a"))
    namespace.apply(server("a-server"))
    for name in ("a", "a-server"):
        ready(namespace, name)

    with way_to(namespace, "a-server") as mlflow:
        mlflow.ask("experiments/create", {"name": "of-a"})
    with way_to(namespace, "a-server-server") as mlflow:
        assert mlflow.refusal("experiments/get-by-name?experiment_name=of-a") == 404


def test_a_release_of_somebody_else_is_left_alone(namespace: Cluster) -> None:
    chart = "charts/mlflow"
    helm(namespace, "install", "tracking-server", chart, "--set=fullnameOverride=mine", "--set=image.tag=none")

    namespace.apply(server("tracking"))

    assert "is not one of this StackComponent" in failed(namespace, "tracking", "HelmReleaseNameTaken")
    namespace.delete("StackComponent", "tracking")
    namespace.wait_gone("StackComponent", "tracking", 30)
    assert [one["status"] for one in revisions(namespace, "tracking-server")] == ["deployed"]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_server_goes_with_its_component_and_its_volume_as_the_policy_says(namespace: Cluster, policy: str) -> None:
    namespace.apply(server("tracking", deletionPolicy=policy))
    ready(namespace, "tracking")
    namespace.apply(server("tracking", deletionPolicy=policy, values=MISSING))  # which leaves a Job that failed
    failed(namespace, "tracking", "HelmUpgradeFailed")

    namespace.delete("StackComponent", "tracking")
    namespace.wait_gone("StackComponent", "tracking", 120)

    of_release = "app.kubernetes.io/instance=tracking-server"
    for kind in ("Deployment", "Service", "ServiceAccount", "Pod", "Job"):
        left = namespace.list(kind, of_release)
        assert [body for body in left if "deletionTimestamp" not in body["metadata"]] == []
    assert namespace.list("Secret", "owner=helm") == []
    claims = [
        claim
        for claim in namespace.list("PersistentVolumeClaim", of_release)
        if "deletionTimestamp" not in claim["metadata"]
    ]
    assert len(claims) == (1 if policy == "Retain" else 0)


def test_users_log_in_and_steps_get_the_log_in_by_reference(stacks: Cluster, s3_service: S3Server) -> None:
    stacks.apply(with_log_in(stacks, server("tracking", artifactStoreRef={"name": "bucket"})))
    ready(stacks, "tracking")
    tracked_stack(stacks, "tracked", tracker="tracking")

    stacks.create(run("first", [python("only", "pass")], on="tracked"))
    recorded(stacks, "first")

    with way_to(stacks, "tracking-server") as mlflow:
        assert mlflow.refusal("experiments/search?max_results=1") == 401
    (pod,) = stacks.list("Pod", "cairn.dev/run=first")
    assert PASSWORD not in json.dumps(pod)
