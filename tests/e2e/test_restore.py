"""A backup of all objects is restored into a cluster that has none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Body, Cluster, condition
from faults import ready_operator
from images import CHECKOUT
from manifests import RESTRICTED, pipeline, python, run, run_of, schedule_of, secret
from operator_release import install
from polling import poll
from s3 import S3Server

pytestmark = [pytest.mark.alone, pytest.mark.full]

KINDS = (
    "stackcomponents.cairn.dev,stacks.cairn.dev,pipelines.cairn.dev,pipelineschedules.cairn.dev,pipelineruns.cairn.dev"
)
OPERATOR = "cairn-system"


@pytest.fixture
def installed_again(cluster: Cluster) -> Iterator[None]:
    yield
    install()
    ready_operator(cluster)


def uninstall() -> None:
    subprocess.run(["helm", "uninstall", "cairn", "--namespace", OPERATOR, "--wait", "--timeout=180s"], check=True)


def by_name(bodies: list[Body]) -> dict[str, Body]:
    return {body["metadata"]["name"]: body for body in bodies}


@pytest.fixture
def restored(
    cluster: Cluster, stacks: Cluster, s3_service: S3Server, tmp_path: Path, installed_again: None
) -> Iterator[tuple[dict[str, Body], Cluster]]:
    """The runs that there were, and a namespace filled from a backup of theirs, when they and the operator were gone."""
    only = [python("only", "pass")]
    stacks.create(run("succeeded", only, on="kubernetes"))
    stacks.create(run("failed", [python("only", "raise SystemExit(3)")], on="local"))
    stacks.apply(pipeline("by-name", only))
    stacks.create(run_of("by-name", "named", stackRef={"name": "kubernetes"}))
    stacks.apply(pipeline("on-change", only, runPolicy="OnChange"))
    stacks.apply(schedule_of("by-name", "suspended", "* * * * *", suspend=True))
    stacks.create(run_of("by-name", "waits", suspend=True))
    for name in ("succeeded", "failed", "named"):
        stacks.finished(name)
    last = stacks.wait("Pipeline", "on-change", lambda body: "lastRun" in (body.get("status") or {}), 60)
    stacks.finished(last["status"]["lastRun"]["name"])
    stacks.wait_condition("Pipeline", "on-change", "LastRunSucceeded", status="True", timeout=30)
    before = by_name(stacks.list("PipelineRun"))
    backup = tmp_path / "backup.json"
    revisions = stacks.kubectl(
        "get", "controllerrevisions", "--selector=app.kubernetes.io/managed-by=cairn", "--output=json"
    )
    backup.write_text(stacks.kubectl("get", KINDS, "--output=json") + revisions)

    uninstall()
    name = stacks.namespace
    cluster.kubectl("delete", "namespace", name, "--timeout=120s")
    with cluster.temporary_namespace(f"{name}-again", RESTRICTED) as namespace:
        backup.write_text(backup.read_text().replace(name, namespace.namespace))
        namespace.apply(secret("s3-credentials", **s3_service.credentials))
        subprocess.run([str(CHECKOUT / "manifests/install/restore.py"), str(backup)], check=True, timeout=120)
        install()
        ready_operator(cluster)
        yield before, namespace


def test_a_restored_namespace_has_the_same_stacks_and_runs_nothing_again(
    restored: tuple[dict[str, Body], Cluster],
) -> None:
    before, namespace = restored

    for name in ("kubernetes", "pods", "local"):
        namespace.wait_condition("Stack", name, "Ready", status="True", timeout=60)
    for name in ("by-name", "on-change"):
        namespace.wait_condition("Pipeline", name, "Ready", status="True", timeout=60)
    namespace.wait_condition("PipelineSchedule", "suspended", "Ready", status="True", timeout=60)
    for name in before:  # what the operator has not looked at has run nothing again, either
        namespace.patch("PipelineRun", name, {"spec": {"ttlSecondsAfterFinished": 86400}})
    poll(
        lambda: [body["status"].get("observedGeneration") for body in namespace.list("PipelineRun")],
        lambda seen: set(seen) == {2},
        60,
        "the operator had not seen each run",
    )
    after = by_name(namespace.list("PipelineRun"))
    assert after.keys() == before.keys()
    for name, body in after.items():
        assert condition(body, "Succeeded")["reason"] == condition(before[name], "Succeeded")["reason"]
        assert body["status"].get("completionTime") == before[name]["status"].get("completionTime")
    owners = {
        name: [owner["name"] for owner in body["metadata"].get("ownerReferences", ())] for name, body in after.items()
    }
    assert owners == {
        name: [owner["name"] for owner in body["metadata"].get("ownerReferences", ())] for name, body in before.items()
    }
    assert namespace.list("Job") == []
    assert [pod for pod in namespace.list("Pod") if pod["metadata"]["labels"].get("cairn.dev/run")] == []


def test_a_restored_pipeline_is_run_when_it_changes(restored: tuple[dict[str, Body], Cluster]) -> None:
    before, namespace = restored

    namespace.apply(pipeline("on-change", [python("other", "pass")], runPolicy="OnChange"))

    made = poll(
        lambda: sorted(by_name(namespace.list("PipelineRun")).keys() - before.keys()), bool, 60, "no run was made"
    )
    assert len(made) == 1
    assert condition(namespace.finished(made[0]), "Succeeded")["reason"] == "Completed"


def test_restoring_beside_an_operator_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "backup.json").write_text('{"apiVersion": "v1", "kind": "List", "items": []}')

    done = subprocess.run(
        [str(CHECKOUT / "manifests/install/restore.py"), str(tmp_path / "backup.json")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "the operator is running" in done.stderr
