"""Runs on Kubeflow Pipelines: the same statuses, reasons and outputs as on Jobs, and what is to be had there only."""

from __future__ import annotations

import secrets

import pytest

from cluster import Body, Cluster, artifacts, condition, results, states, step
from kubeflow_server import LAUNCHER, SECRET_NAME, KubeflowServer, launcher
from manifests import HOLD, PYTHON_IMAGE, component, python, run, s3, secret, stack
from polling import poll
from s3 import S3Server

WRITES = "import json, os; json.dump({'score': 0.5}, open(os.environ['CAIRN_RESULTS'], 'w'))"
FAILS = "import sys\nprint('no rows left')\nsys.exit(3)"


@pytest.fixture(scope="module")
def runs(kubeflow_stack: Cluster) -> Cluster:
    """The runs of this module, started together."""
    fails = [
        python("exits", FAILS, retry={"limit": 1, "backoffSeconds": 1}),
        python("after", "pass", dependsOn=["exits"]),
        python("other", "pass"),
        python("lies", "pass", outputs={"artifacts": [{"name": "model", "path": "/out/model"}]}),
    ]
    tells = python("tell", "pass", when='run.state == "Failed"')
    kubeflow_stack.create(run("fails", fails, on="kubeflow", **{"finally": [tells]}))
    flow = [
        python("score", WRITES, outputs={"results": ["score"]}),
        python("good", "pass", dependsOn=["score"], when="double(steps.score.results.score) > 0.9"),
        python("after-good", "pass", dependsOn=["good"]),
        python("each", "import os; print(os.environ['CAIRN_ITEM'])", forEach={"items": ["a", "b"]}),
        {
            "name": "reads",
            "image": PYTHON_IMAGE,
            "command": ["python", "-c", "import os, sys; assert (os.environ['GIVEN'], sys.argv[1]) == ('0.5', 'x')"],
            "args": ["$(params.word)"],
            "env": [{"name": "GIVEN", "value": "$(steps.score.results.score)"}],
        },
    ]
    kubeflow_stack.create(run("flow", flow, on="kubeflow", parameters=[{"name": "word", "value": "x"}]))
    hangs = [python("hangs", HOLD), python("after", "pass", dependsOn=["hangs"])]
    last: Body = {"finally": [python("last", "pass")]}
    kubeflow_stack.create(run("cancelled", hangs, on="kubeflow", **last))
    kubeflow_stack.create(run("cancelled-at-once", hangs, on="kubeflow", **last))
    kubeflow_stack.create(run("late", [python("slow", HOLD, timeoutSeconds=5)], on="kubeflow"))
    nowhere = {"name": "only", "image": "nowhere.invalid/none:1", "command": ["none"], "pendingTimeoutSeconds": 120}
    kubeflow_stack.create(run("no-image", [nowhere], on="kubeflow"))
    kubeflow_stack.create(run("run-late", hangs, on="kubeflow", timeoutSeconds=15))
    return kubeflow_stack


def test_a_step_that_fails_says_why_after_its_last_attempt(runs: Cluster) -> None:
    finished = runs.finished("fails", timeout=300)

    exits = step(finished, "exits")
    assert (exits["state"], exits["attempts"], exits["reason"], exits["exitCode"]) == ("Failed", 2, "ExitCode", 3)
    assert "no rows left" in exits["logTail"]
    assert [record["exitCode"] for record in exits["previousAttempts"]] == [3]
    assert condition(finished, "Succeeded")["reason"] == "StepFailed"


def test_what_needs_a_failed_step_is_skipped_and_others_go_on(runs: Cluster) -> None:
    finished = runs.finished("fails", timeout=300)

    assert states(finished) == {
        "exits": "Failed",
        "after": "Skipped",
        "other": "Succeeded",
        "lies": "Failed",
        "tell": "Succeeded",
    }


def test_an_output_that_is_not_written_is_told(runs: Cluster) -> None:
    lies = step(runs.finished("fails", timeout=300), "lies")

    assert lies["reason"] == "OutputMissing"
    assert "/out/model" in lies["message"]


def test_conditions_items_and_results(runs: Cluster) -> None:
    finished = runs.finished("flow", timeout=300)

    assert condition(finished, "Succeeded")["reason"] == "Completed", finished["status"]
    assert results(finished, "score") == {"score": "0.5"}
    found = states(finished)
    assert (found["good"], found["after-good"], found["reads"]) == ("Skipped", "Succeeded", "Succeeded")
    assert (found["each-0"], found["each-1"]) == ("Succeeded", "Succeeded")


def test_a_cancelled_run_is_terminated_there(runs: Cluster, kubeflow: KubeflowServer) -> None:
    runs.wait("PipelineRun", "cancelled", lambda body: states(body).get("hangs") == "Running", 120)

    runs.patch("PipelineRun", "cancelled", {"spec": {"cancel": "Graceful"}})

    finished = runs.finished("cancelled", timeout=120)
    assert condition(finished, "Succeeded")["reason"] == "Cancelled"
    assert states(finished) == {"hangs": "Cancelled", "after": "Cancelled", "last": "Cancelled"}
    _ended_there(kubeflow, finished)


def test_a_run_that_is_cancelled_at_once_is_terminated_there_too(runs: Cluster, kubeflow: KubeflowServer) -> None:
    runs.wait("PipelineRun", "cancelled-at-once", lambda body: states(body).get("hangs") == "Running", 120)

    runs.patch("PipelineRun", "cancelled-at-once", {"spec": {"cancel": "Immediate"}})

    finished = runs.finished("cancelled-at-once", timeout=30)
    assert condition(finished, "Succeeded")["reason"] == "Cancelled"
    _ended_there(kubeflow, finished)
    runs.wait("PipelineRun", "cancelled-at-once", lambda body: not body["metadata"].get("finalizers"), 60)


def test_a_step_that_runs_for_too_long_is_stopped(runs: Cluster) -> None:
    slow = step(runs.finished("late", timeout=180), "slow")

    assert (slow["state"], slow["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_step_that_cannot_start_says_why_and_is_given_up(runs: Cluster) -> None:
    only = step(runs.finished("no-image", timeout=300), "only")

    assert (only["state"], only["reason"]) in {("Failed", "ErrImagePull"), ("Failed", "ImagePullBackOff")}
    assert "pendingTimeoutSeconds" in only["message"]


def test_a_run_that_takes_too_long_is_terminated_there(runs: Cluster, kubeflow: KubeflowServer) -> None:
    finished = runs.finished("run-late", timeout=180)

    assert condition(finished, "Succeeded")["reason"] == "TimedOut"
    _ended_there(kubeflow, finished)


def test_what_kubeflow_cannot_express_is_refused_with_the_field(kubeflow_stack: Cluster) -> None:
    spec = run("refused", [python("only", "pass")], on="kubeflow", failurePolicy="StopOnFailure")
    kubeflow_stack.create(spec)

    refused = condition(kubeflow_stack.finished("refused", timeout=30), "Succeeded")

    assert refused["reason"] == "InvalidSpec"
    assert "spec.failurePolicy: StopOnFailure" in refused["message"]


def test_a_run_that_is_deleted_ends_there(kubeflow_stack: Cluster, kubeflow: KubeflowServer) -> None:
    created = kubeflow_stack.create(run("deleted", [python("hangs", HOLD)], on="kubeflow"))
    kubeflow_stack.wait("PipelineRun", "deleted", lambda body: states(body).get("hangs") == "Running", 120)

    kubeflow_stack.delete("PipelineRun", "deleted")
    kubeflow_stack.wait_gone("PipelineRun", "deleted", 60)

    _ended_there(kubeflow, created)


def test_artifacts_lie_in_the_pipeline_root(kubeflow_stack: Cluster, s3_service: S3Server) -> None:
    writes = python(
        "writes",
        "open('/out/text', 'w').write('hello')",
        outputs={"artifacts": [{"name": "text", "path": "/out/text"}]},
    )
    kubeflow_stack.create(run("keeps", [writes], on="kubeflow"))

    finished = kubeflow_stack.finished("keeps", timeout=120)

    text = artifacts(finished, "writes")["text"]
    assert s3_service.read(text["uri"]) == b"hello"
    assert finished["status"]["orchestratorRun"]["id"] in text["uri"]


def test_a_stack_whose_launcher_knows_another_endpoint_is_not_ready(
    kubeflow_stack: Cluster, kubeflow: KubeflowServer, s3_service: S3Server
) -> None:
    if kubeflow.is_real:
        pytest.skip("the settings of a real Kubeflow Pipelines are left alone")
    with kubeflow.cluster.temporary_namespace(f"e2e-profile-{secrets.token_hex(4)}", {}) as profile:
        kubeflow_stack.apply(component("profile", kubeflow.component(namespace=profile.namespace)))
        kubeflow_stack.apply(stack("profile", orchestrator="profile", store="bucket"))
        _not_ready(kubeflow_stack, "profile", "LauncherNotConfigured")

        profile.apply(launcher(s3_service))
        told = _not_ready(kubeflow_stack, "profile", "LauncherSecretMissing")
        assert f"ConfigMap {profile.namespace}/{LAUNCHER}" in told["message"]

        profile.apply(secret(SECRET_NAME, **s3_service.credentials))
        kubeflow_stack.wait_condition("Stack", "profile", "Ready", status="True", timeout=90)


def test_a_pipeline_root_outside_of_the_store_is_refused(
    kubeflow_stack: Cluster, kubeflow: KubeflowServer, s3_service: S3Server, shared_bucket: str
) -> None:
    kubeflow_stack.apply(component("elsewhere", kubeflow.component(pipelineRoot="s3://another-bucket/root")))
    kubeflow_stack.apply(component("prefixed", s3(shared_bucket, s3_service.endpoint, prefix="team")))
    kubeflow_stack.apply(stack("elsewhere", orchestrator="elsewhere", store="prefixed"))

    told = _not_ready(kubeflow_stack, "elsewhere", "ComponentsIncompatible")
    assert "pipelineRoot s3://another-bucket/root" in told["message"]


def _ended_there(kubeflow: KubeflowServer, created: Body) -> None:
    """Wait until the one run that Kubeflow Pipelines has of a PipelineRun has ended before its time."""
    found = poll(lambda: kubeflow.runs_of(created), lambda runs: runs[0]["state"] == "FAILED", 60, "it goes on there")
    assert len(found) == 1


def _not_ready(namespace: Cluster, name: str, reason: str) -> Body:
    """Wait until a Stack says why it cannot be used, and return the condition."""
    return namespace.wait_condition("Stack", name, "Ready", status="False", reason=reason, timeout=90)
