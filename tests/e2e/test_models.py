"""Models that steps write become versions in the stack's model registry, and can be fetched by their alias."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import Body, Cluster, condition, states
from managed_mlflow import ready, server, tracked_stack
from manifests import component, python, run
from mlflow_server import MLflowServer, image, recorded, way_to
from s3 import S3Server

TRAINS = """
import json, os
import mlflow.sklearn
from sklearn.linear_model import LinearRegression

model = LinearRegression(fit_intercept=False).fit([[1.0], [2.0]], [2.0, 4.0])
mlflow.sklearn.save_model(model, "/out/model")
json.dump({"accuracy": 0.95}, open(os.environ["CAIRN_RESULTS"], "w"))
"""
PREDICTS = """
import mlflow

model = mlflow.pyfunc.load_model("models:/doubles@champion")
assert [round(float(one)) for one in model.predict([[3.0]])] == [6]
"""


def train(**register: Any) -> Body:
    """Return a step that writes a model and registers it."""
    artifact = {"name": "model", "path": "/out/model", "type": "Model", "register": register}
    return python("train", TRAINS, image=image(), outputs={"artifacts": [artifact], "results": ["accuracy"]})


def registered(namespace: Cluster, name: str, status: str, reason: str) -> Body:
    """Wait for what becomes of a run's models, and return the run."""
    namespace.finished(name, timeout=300)
    namespace.wait_condition("PipelineRun", name, "Registered", status=status, reason=reason, timeout=60)
    body = namespace.get("PipelineRun", name)
    assert body is not None
    return body


def aliases(mlflow: MLflowServer, model: str) -> dict[str, str]:
    """Return which version of a model bears which alias."""
    found = mlflow.ask(f"registered-models/get?name={model}")["registered_model"]
    return {one["alias"]: one["version"] for one in found.get("aliases", [])}


@pytest.fixture(scope="module")
def registry(shared_stacks: Cluster) -> Cluster:
    """A namespace with a stack `registering`, whose steps write to the bucket themselves."""
    shared_stacks.apply(server("tracking", artifactStoreRef={"name": "bucket"}, artifactAccess="Direct"))
    shared_stacks.apply(component("models", {"modelRegistry": {"mlflow": {"trackerRef": {"name": "tracking"}}}}))
    ready(shared_stacks, "tracking")
    ready(shared_stacks, "models")
    tracked_stack(shared_stacks, "registering", tracker="tracking", modelRegistryRef={"name": "models"})
    return shared_stacks


@pytest.fixture(scope="module")
def mlflow(registry: Cluster) -> Iterator[MLflowServer]:
    """The server of that namespace."""
    with way_to(registry, "tracking-server") as found:
        yield found


def test_a_model_is_registered_with_its_run_and_serves_under_its_alias(registry: Cluster, mlflow: MLflowServer) -> None:
    steps = [train(name="doubles", alias="champion", when="double(results.accuracy) > 0.9")]
    registry.create(run("trained", steps, on="registering", experiment="doubles"))
    body = registered(registry, "trained", "True", "Registered")
    recorded(registry, "trained")

    (one,) = body["status"]["registrations"]
    assert (one["state"], one["version"], one["alias"]) == ("Registered", "1", "champion")
    version = mlflow.ask("model-versions/get?name=doubles&version=1")["model_version"]
    (attempt,) = [found for found in mlflow.runs("doubles") if found.name == "train"]
    assert version["run_id"] == attempt.id
    (artifact,) = body["status"]["steps"][0]["artifacts"]
    assert version["source"] == artifact["uri"]
    assert {"key": "cairn.artifact.digest", "value": artifact["digest"]} in version["tags"]

    registry.create(run("used", [python("predict", PREDICTS, image=image())], on="registering"))
    assert states(registry.finished("used", timeout=300)) == {"predict": "Succeeded"}


OUTSIDE = """
import mlflow

client = mlflow.MlflowClient()
version = client.get_model_version_by_alias("outside", "champion")
attempt = client.get_run(version.run_id)
parent = client.get_run(attempt.data.tags["mlflow.parentRunId"])
assert attempt.data.metrics["accuracy"] == parent.data.metrics["train.accuracy"] == 0.95
assert parent.data.params == {"slope": "2"}
assert attempt.data.tags["cairn.artifact.model"].endswith(version.tags["cairn.artifact.digest"])
model = mlflow.pyfunc.load_model("models:/outside@champion")
print(round(float(model.predict([[3.0]])[0])))
"""


def test_mlflow_s_own_client_outside_of_the_cluster_finds_and_uses_the_model(
    registry: Cluster, mlflow: MLflowServer, s3_service: S3Server
) -> None:
    if os.environ.get("CLUSTER") == "current":
        pytest.skip("the image of the client is in the Docker of this checkout's own cluster")
    parameters = [{"name": "slope", "value": "2"}]
    registry.create(run("outside", [train(name="outside", alias="champion")], on="registering", parameters=parameters))
    registered(registry, "outside", "True", "Registered")
    recorded(registry, "outside")

    env = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow.way.port}",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_service.way.port}",
        **s3_service.credentials,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    given = [argument for name, value in env.items() for argument in ("--env", f"{name}={value}")]
    command = ["docker", "run", "--rm", "--network=host", *given, image(), "python", "-c", OUTSIDE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["6"]


def test_a_model_that_is_not_good_enough_is_not_registered(registry: Cluster, mlflow: MLflowServer) -> None:
    steps = [train(name="not-good-enough", alias="champion", when="double(results.accuracy) > 0.99")]
    registry.create(run("worse", steps, on="registering"))

    body = registered(registry, "worse", "False", "NotRegistered")

    assert condition(body, "Succeeded")["status"] == "True"
    assert mlflow.refusal("registered-models/get?name=not-good-enough") == 404


@pytest.mark.parametrize(
    ("decision", "status", "reason"), [("approve", "True", "Registered"), ("refuse", "False", "ApprovalRefused")]
)
def test_a_model_waits_until_somebody_decides(
    registry: Cluster, mlflow: MLflowServer, decision: str, status: str, reason: str
) -> None:
    name, model = f"gated-{decision}", f"to-{decision}"
    steps = [train(name=model, alias="champion", approval="Required")]
    registry.create(run(name, steps, on="registering"))
    registered(registry, name, "Unknown", "AwaitingApproval")
    assert aliases(mlflow, model) == {"pending": "1"}
    assert "AwaitingApproval" in registry.kubectl("get", "pipelinerun", name, "--output=wide")
    assert "AwaitingApproval" in {event["reason"] for event in registry.events("PipelineRun", name)}

    registry.kubectl("annotate", "pipelinerun", name, f"cairn.dev/{decision}=alice@example.com")
    registered(registry, name, status, reason)

    assert aliases(mlflow, model) == ({"champion": "1"} if decision == "approve" else {})
    tags = mlflow.ask(f"model-versions/get?name={model}&version=1")["model_version"]["tags"]
    assert {"key": "cairn.approval.by", "value": "alice@example.com"} in tags


def test_nobody_decides_in_time(registry: Cluster, mlflow: MLflowServer) -> None:
    steps = [train(name="late", alias="champion", approval="Required", approvalTimeoutSeconds=1)]
    registry.create(run("late", steps, on="registering"))

    registered(registry, "late", "False", "ApprovalTimedOut")

    assert aliases(mlflow, "late") == {}


def test_the_registry_is_away_for_a_while(registry: Cluster, mlflow: MLflowServer) -> None:
    """Last, since it is the others' registry, too."""
    registry.create(run("meanwhile", [train(name="meanwhile", alias="champion")], on="registering"))
    mlflow.kill()

    registered(registry, "meanwhile", "True", "Registered")

    assert aliases(mlflow, "meanwhile") == {"champion": "1"}
