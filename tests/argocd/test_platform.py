"""The app of apps: from nothing to runs, what breaks and heals, what is run again and what is not."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest

from cluster import Cluster, condition
from manifests import pipeline, python
from polling import poll
from tests.argocd.argo_cd import health_of
from tests.argocd.conftest import Platform
from tests.argocd.platform import APPLICATIONS, ROOT

TRAIN = "manifests/argocd/pipelines/train.yaml"
TOLD_SECONDS = 60

Body = dict[str, Any]


def finished(team: Cluster, prefix: str, timeout: float = 240) -> Body:
    """Wait until a run whose name begins so has ended, and return it."""

    def ended() -> list[Body]:
        return [
            run
            for run in team.list("PipelineRun")
            if run["metadata"]["name"].startswith(prefix) and condition(run, "Finished").get("status") == "True"
        ]

    return poll(ended, bool, timeout, f"no run {prefix}* has ended")[0]


def set_key(team: Cluster, key: str) -> str:
    """Replace the bucket's secret key and return the old one."""
    found = team.get("Secret", "s3-credentials")
    assert found is not None
    team.patch("Secret", "s3-credentials", {"stringData": {"AWS_SECRET_ACCESS_KEY": key}})
    return base64.b64decode(found["data"]["AWS_SECRET_ACCESS_KEY"]).decode()


def assert_nothing_is_run(platform: Platform, before: list[str]) -> None:
    """Check that the Pipeline has no run but those before, once another, which is made now, has been run."""
    witness = f"witness-{secrets.token_hex(2)}"
    platform.team.create(pipeline(witness, [python("only", "pass")], runPolicy="OnChange"))
    finished(platform.team, f"{witness}-1-")
    platform.team.delete("Pipeline", witness)

    assert platform.runs.names("train-") == before


def test_one_apply_ends_with_every_application_synced_and_healthy(platform: Platform):
    for name in (ROOT, *APPLICATIONS):
        status = platform.argo.application(name)["status"]

        assert (status["sync"]["status"], status["health"]["status"]) == ("Synced", "Healthy"), name


def test_the_stack_is_ready_and_mlflow_is_up(platform: Platform):
    platform.team.wait_condition("Stack", "production", "Ready", status="True", timeout=10)
    platform.team.wait("Deployment", "mlflow-server", lambda body: body["status"].get("readyReplicas") == 1, 10)


def test_the_pipeline_that_is_run_at_each_change_was_run(platform: Platform):
    run = finished(platform.team, "train-1-")

    assert condition(run, "Succeeded")["reason"] == "Completed"


def test_the_scheduled_pipeline_is_run(platform: Platform):
    run = finished(platform.team, "report-")

    assert condition(run, "Succeeded")["reason"] == "Completed"


def test_a_wrong_access_key_turns_the_platform_degraded_with_the_component_s_message_until_it_is_right(
    platform: Platform,
):
    right = set_key(platform.team, "wrong")

    message = platform.argo.wait_resource(
        "cairn-platform", "StackComponent", "bucket", "Degraded", timeout=TOLD_SECONDS
    )
    told = platform.argo.wait("cairn-platform", health="Degraded", timeout=TOLD_SECONDS)
    set_key(platform.team, right)

    assert "AWS_SECRET_ACCESS_KEY" in message or "secret key" in message
    assert health_of(told, "StackComponent", "kubernetes")["status"] == "Healthy"
    platform.argo.wait("cairn-platform", health="Healthy", timeout=TOLD_SECONDS)
    platform.argo.wait(ROOT, health="Healthy", timeout=TOLD_SECONDS)


def test_a_commit_that_changes_a_pipeline_runs_it_once_and_the_next_sync_does_not(platform: Platform):
    before = platform.runs.names("train-")
    platform.repository.replace(TRAIN, 'default: "0.5"', 'default: "0.25"')

    platform.commit("Less regularisation", "cairn-pipelines")
    finished(platform.team, "train-2-")
    platform.commit("Nothing", "cairn-pipelines")
    platform.argo.wait("cairn-pipelines", health="Healthy", timeout=60)

    made = platform.runs.names("train-2-")
    assert len(made) == 1
    assert_nothing_is_run(platform, sorted([*before, *made]))


def test_a_commit_that_changes_only_labels_runs_nothing(platform: Platform):
    before = platform.runs.names("train-")
    platform.repository.replace(TRAIN, "metadata:\n  name: train", "metadata:\n  name: train\n  labels: {team: ml}")

    platform.commit("A label", "cairn-pipelines")

    found = platform.team.get("Pipeline", "train")
    assert found is not None
    assert found["metadata"]["labels"]["team"] == "ml"
    assert_nothing_is_run(platform, before)


def test_what_somebody_changes_by_hand_is_put_back_and_runs_nothing(platform: Platform):
    before = platform.runs.names("train-")
    platform.team.patch("Pipeline", "train", {"metadata": {"labels": {"team": "others"}}})

    platform.team.wait("Pipeline", "train", lambda body: body["metadata"]["labels"]["team"] == "ml", 60)

    assert_nothing_is_run(platform, before)


def test_what_the_operator_makes_is_nobody_s_to_sync(platform: Platform):
    for name in APPLICATIONS:
        resources = platform.argo.application(name)["status"]["resources"]

        assert all(item["status"] == "Synced" and not item.get("requiresPruning") for item in resources), name
        assert "PipelineRun" not in {item["kind"] for item in resources}, name


def test_an_operator_that_somebody_deletes_is_back_and_runs_nothing_again(platform: Platform):
    before = platform.runs.names("train-")
    operator = platform.argo.cluster.within("cairn-system")

    operator.delete("Deployment", "cairn")
    operator.wait("Deployment", "cairn", lambda body: (body.get("status") or {}).get("readyReplicas") == 1, 120)
    platform.argo.wait("cairn-operator", health="Healthy", timeout=60)

    assert_nothing_is_run(platform, before)


def test_a_pipeline_that_goes_from_git_goes_with_its_runs_and_their_jobs(platform: Platform):
    path = "manifests/argocd/pipelines/short-lived.yaml"
    platform.repository.write(path, platform.repository.read(TRAIN).replace("name: train", "name: short-lived", 1))
    platform.commit("A pipeline", "cairn-pipelines")
    finished(platform.team, "short-lived-1-")

    platform.repository.remove(path)
    platform.commit("No pipeline", "cairn-pipelines")

    platform.team.wait_gone("Pipeline", "short-lived", 60)
    for kind in ("PipelineRun", "Job", "Pod", "ControllerRevision"):
        poll(
            lambda kind=kind: [
                item["metadata"]["name"]
                for item in platform.team.list(kind)
                if item["metadata"]["name"].startswith("short-lived")
            ],
            lambda left: not left,
            60,
            f"a {kind} is left",
        )


@pytest.mark.parametrize("kind", ["StackComponent", "Stack", "Pipeline", "PipelineSchedule"])
def test_argo_cd_knows_how_every_kind_is(platform: Platform, kind: str):
    healths = [
        item.get("health", {}).get("status")
        for name in APPLICATIONS
        for item in platform.argo.application(name)["status"]["resources"]
        if item["kind"] == kind
    ]

    assert healths
    assert set(healths) == {"Healthy"}
