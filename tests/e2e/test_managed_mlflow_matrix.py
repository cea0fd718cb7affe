"""Each way in which a server keeps its records and artifacts, and lets users in, with a run through it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from cluster import Cluster, states
from managed_mlflow import ready, server, tracked_stack, with_log_in
from manifests import python, run
from mlflow_server import image, recorded
from postgresql import postgresql
from s3 import S3Server

RECORDS = """
import pathlib
import mlflow

with mlflow.start_run():
    mlflow.log_metric("accuracy", 0.9)
    note = pathlib.Path("/tmp/note.txt")
    note.write_text("hello")
    mlflow.log_artifact(str(note))
"""
READS = """
import mlflow

(experiment,) = mlflow.search_experiments(filter_string="name = 'matrix'")
found = mlflow.search_runs([experiment.experiment_id], filter_string="metrics.accuracy > 0.8", output_format="list")
(run,) = found
assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt") == "hello"
"""
WAYS = list(product(("sqlite", "postgresql"), ("Proxied", "Direct"), ("open", "log-in")))


@pytest.mark.parametrize(
    ("store", "access", "login"),
    [
        pytest.param(
            *way, marks=() if way == ("postgresql", "Direct", "log-in") else pytest.mark.full, id="-".join(way)
        )
        for way in WAYS
    ],
)
def test_a_run_is_recorded_with_its_artifacts_in_the_bucket_and_then_the_server_goes(
    stacks: Cluster, s3_service: S3Server, bucket: str, store: str, access: str, login: str
) -> None:
    fields: dict[str, Any] = {"artifactStoreRef": {"name": "bucket"}, "artifactAccess": access}
    if store == "postgresql":
        uri = {"name": postgresql(stacks).secret, "key": "uri"}
        fields |= {"backendStore": {"postgresql": {"uriSecretRef": uri}}, "replicas": 2}
    tracker = server("tracking", **fields)
    if login == "log-in":
        tracker = with_log_in(stacks, tracker)
    stacks.apply(tracker)
    ready(stacks, "tracking", timeout=240)
    tracked_stack(stacks, "tracked", tracker="tracking")

    steps = [
        python("records", RECORDS, image=image()),
        python("reads", READS, image=image(), dependsOn=["records"]),
    ]
    stacks.create(run("through", steps, on="tracked", experiment="matrix"))

    body = recorded(stacks, "through")
    assert states(body) == {"records": "Succeeded", "reads": "Succeeded"}
    kept = s3_service.keys(f"s3://{bucket}/{stacks.namespace}/.mlflow/tracking")
    assert [key for key in kept if key.endswith("note.txt")]

    stacks.delete("Stack", "tracked")
    stacks.delete("StackComponent", "tracking")
    stacks.wait_gone("StackComponent", "tracking", 120)
