"""Runs are recorded in MLflow: what Cairn knows of them, and what the code of their steps says itself."""

from __future__ import annotations

import pytest

from cluster import Body, Cluster, condition, step
from manifests import HOLD, ORCHESTRATORS, component, python, run
from mlflow_server import MLflowRun, MLflowServer, image, recorded
from polling import poll
from s3 import S3Server

AUTOLOGGED = """
import json, os
import mlflow
from sklearn.linear_model import LinearRegression

mlflow.autolog()
assert open("/in/numbers").read() == "1 2 3"
with mlflow.start_run():
    LinearRegression(fit_intercept=False).fit([[1.0], [2.0], [3.0]], [2.0, 4.0, 6.0])
    mlflow.log_metric("own", 7)
    for depth in (1, 2):
        with mlflow.start_run(nested=True, run_name=f"trial-{depth}"):
            mlflow.log_param("depth", depth)
json.dump({"rmse": 0.5, "kind": "linear"}, open(os.environ["CAIRN_RESULTS"], "w"))
"""
DIES = """
import os
import mlflow

mlflow.log_metric("before", 1)
with mlflow.start_run(nested=True, run_name="trial-that-dies"):
    os._exit(137)  # as what is out of memory: nobody ends the runs
"""
TRAINING: list[Body] = [
    python(
        "load",
        "open('/out/numbers', 'w').write('1 2 3')",
        outputs={"artifacts": [{"name": "numbers", "path": "/out/numbers", "type": "Dataset"}]},
    ),
    {
        **python("train", AUTOLOGGED),
        "inputs": {"artifacts": [{"name": "numbers", "from": "load.numbers", "path": "/in/numbers"}]},
        "outputs": {"results": ["rmse", "kind"]},
        "cache": {"enabled": False},
    },
    {**python("dies", DIES), "retry": {"limit": 1, "backoffSeconds": 0}},
]


@pytest.fixture(scope="module")
def trainings(tracked: Cluster) -> Cluster:
    """The same run on each orchestrator, at the same time."""
    steps = [{**one, "image": image()} if one["name"] != "load" else one for one in TRAINING]
    for on in ORCHESTRATORS:
        extra = {"experiment": on, "parameters": [{"name": "alpha", "value": "0.5"}]}
        git = {"repository": "https://git.example.com/wine", "revision": "4f2c1d0", "branch": "main"}
        body = run(f"training-{on}", steps, on=f"tracked-{on}", source={"git": git}, **extra)
        body["metadata"]["annotations"] = {"cairn.dev/created-by": "alice"}
        tracked.create(body)
    return tracked


@pytest.fixture(scope="module")
def training(trainings: Cluster, orchestrator: str) -> Body:
    """The run on one of them, recorded."""
    return recorded(trainings, f"training-{orchestrator}")


@pytest.fixture(scope="module")
def runs(training: Body, mlflow: MLflowServer, orchestrator: str) -> list[MLflowRun]:
    """All that MLflow has of it."""
    assert training["status"]["completionTime"]
    return list(mlflow.runs(f"team-a/{orchestrator}"))


def named(runs: list[MLflowRun], name: str) -> MLflowRun:
    """Return the one run of that name."""
    (found,) = [one for one in runs if one.name == name]
    return found


class TestTraining:
    """A run with a step that is autologged, and one that dies."""

    def test_the_run_has_its_parameters_its_source_and_its_end(self, runs: list[MLflowRun], training: Body) -> None:
        parent = named(runs, training["metadata"]["name"])

        assert (parent.status, parent.params, parent.parent) == ("FAILED", {"alpha": "0.5"}, None)
        assert parent.tags["mlflow.source.git.commit"] == "4f2c1d0"
        assert parent.tags["cairn.run.uid"] == training["metadata"]["uid"]
        assert (parent.metrics["train.rmse"], parent.tags["cairn.reason"]) == (0.5, "StepFailed")

    def test_the_run_and_its_attempts_say_who_has_created_it(self, runs: list[MLflowRun], training: Body) -> None:
        names = [training["metadata"]["name"], "load", "train"]

        assert {named(runs, name).tags["mlflow.user"] for name in names} == {"alice"}

    def test_the_status_says_where_it_is(self, runs: list[MLflowRun], training: Body) -> None:
        parent = named(runs, training["metadata"]["name"])

        assert training["status"]["tracking"]["runID"] == parent.id
        assert training["status"]["tracking"]["url"].startswith("https://mlflow.example.com/#/experiments/")

    def test_each_attempt_is_nested_in_it(self, runs: list[MLflowRun], training: Body) -> None:
        parent = named(runs, training["metadata"]["name"])

        nested = {one.name: one.status for one in runs if one.parent == parent.id}

        assert nested == {"load": "FINISHED", "train": "FINISHED", "dies": "FAILED", "dies (2)": "FAILED"}

    def test_what_is_autologged_is_in_the_run_of_the_step(self, runs: list[MLflowRun]) -> None:
        train = named(runs, "train")

        assert train.params["fit_intercept"] == "False"
        assert (train.metrics["own"], train.metrics["rmse"], train.tags["cairn.result.kind"]) == (7, 0.5, "linear")

    def test_runs_that_the_code_makes_are_nested_in_that(self, runs: list[MLflowRun]) -> None:
        train = named(runs, "train")

        trials = {one.name: one.params for one in runs if one.parent == train.id}

        assert trials == {"trial-1": {"depth": "1"}, "trial-2": {"depth": "2"}}

    def test_what_a_step_has_read_is_its_dataset(self, runs: list[MLflowRun], training: Body) -> None:
        (artifact,) = step(training, "load")["artifacts"]

        assert named(runs, "train").datasets["numbers"] == artifact["digest"].removeprefix("sha256:")[:36]

    def test_what_a_step_has_written_is_named_with_its_digest(self, runs: list[MLflowRun], training: Body) -> None:
        (artifact,) = step(training, "load")["artifacts"]

        tag = named(runs, "load").tags["cairn.artifact.numbers"]
        assert tag == f"{artifact['uri']} {artifact['digest']}"

    def test_a_step_that_is_killed_leaves_runs_that_have_ended_with_the_reason(self, runs: list[MLflowRun]) -> None:
        dead = named(runs, "dies")
        trials = [one for one in runs if one.name == "trial-that-dies"]

        assert (dead.status, dead.metrics["before"], dead.tags["cairn.exit_code"]) == ("FAILED", 1, "137")
        assert [trial.status for trial in trials] == ["FAILED", "FAILED"]
        assert {trial.parent for trial in trials} == {dead.id, named(runs, "dies (2)").id}


@pytest.mark.parametrize("on", ORCHESTRATORS)
def test_a_run_that_is_cancelled_is_killed(tracked: Cluster, mlflow: MLflowServer, on: str) -> None:
    name = f"cancelled-{on}"
    tracked.create(run(name, [python("sleeps", HOLD)], on=f"tracked-{on}", experiment=name))
    tracked.wait("PipelineRun", name, lambda body: body.get("status", {}).get("tracking") is not None, 60)

    tracked.patch("PipelineRun", name, {"spec": {"cancel": "Graceful"}})
    recorded(tracked, name)

    assert {one.name: one.status for one in mlflow.runs(f"team-a/{name}")} == {name: "KILLED", "sleeps": "KILLED"}


def test_what_was_open_of_a_run_that_is_deleted_is_killed(tracked: Cluster, mlflow: MLflowServer) -> None:
    tracked.create(run("deleted", [python("sleeps", HOLD)], on="tracked-kubernetes", experiment="deleted"))
    tracked.wait("PipelineRun", "deleted", lambda body: body.get("status", {}).get("tracking") is not None, 60)

    tracked.delete("PipelineRun", "deleted")

    poll(
        lambda: [one.status for one in mlflow.runs("team-a/deleted")],
        lambda statuses: statuses == ["KILLED", "KILLED"],
        60,
        "the deleted run stays open",
    )


def test_a_tracker_that_is_away_holds_up_nobody_and_is_told_later(
    tracked: Cluster, mlflow: MLflowServer, s3_service: S3Server
) -> None:
    mlflow.scale(0)
    try:
        for on in ORCHESTRATORS:
            steps = [TRAINING[0], python("last", "print('done')", dependsOn=["load"])]
            tracked.create(run(f"untold-{on}", steps, on=f"tracked-{on}", experiment="untold"))
        ended = [tracked.finished(f"untold-{on}", timeout=120) for on in ORCHESTRATORS]
        told = tracked.wait_condition(
            "PipelineRun", "untold-kubernetes", "Tracked", status="False", reason="EndpointUnreachable", timeout=90
        )
    finally:
        mlflow.scale(1)
    for on in ORCHESTRATORS:
        recorded(tracked, f"untold-{on}", timeout=180)

    assert [condition(body, "Succeeded")["status"] for body in ended] == ["True", "True"]
    assert "recorded as soon as it can be" in told["message"]
    runs = mlflow.runs("team-a/untold")
    assert sorted(one.name for one in runs) == sorted(["untold-kubernetes", "untold-local", *["load", "last"] * 2])
    assert {one.status for one in runs} == {"FINISHED"}


def test_a_server_that_wants_a_log_in_is_told_so(tracked: Cluster, mlflow: MLflowServer) -> None:
    config = {"mlflow": {"uri": mlflow.uri, "auth": {"basic": {"secretRef": {"name": "no-log-in"}}}}}
    tracked.apply(component("logs-in", {"experimentTracker": config}))

    ready = tracked.wait_condition("StackComponent", "logs-in", "Ready", status="False", timeout=30)

    assert ready["reason"] == "SecretNotFound"
    assert condition(tracked.get("StackComponent", "mlflow") or {}, "Ready")["status"] == "True"
