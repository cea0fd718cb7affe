"""Every sample can be applied, again and again, in both of kubectl's ways; every run among them works."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import Body, Cluster, condition
from manifests import RESTRICTED, component, s3, secret, stack
from s3 import S3Server

SAMPLES = Path(__file__).parents[2] / "manifests/samples"
FILES = sorted(path.name for path in SAMPLES.glob("*.yaml"))
NEED_MORE = {"run-step-operator.yaml", "run-registered.yaml"}
"""A node with a GPU, and a model registry (test_models.py)."""
RUNS = [name for name in FILES if name.startswith("run-") and name not in NEED_MORE]
PIPELINES = [name for name in FILES if name.startswith("pipeline")]
SUSPENDED = "run-suspended.yaml"
ENDS_OTHERWISE = {"failure-policy": "StepFailed", "finally": "StepFailed", "rerun-first": "StepFailed"}
APPLY = {"server-side": ("apply", "--server-side"), "client-side": ("apply",)}


def objects(name: str) -> list[Body]:
    """Return what a sample holds."""
    return list(yaml.safe_load_all((SAMPLES / name).read_text()))


def content(found: Iterable[Body]) -> dict[str, Any]:
    """Return what a person has written of objects, without what the operator and the API server add."""
    return {
        f"{item['kind']} {item['metadata']['name']}": [
            item.get("spec"),
            item.get("data"),
            item["metadata"].get("generation"),
            item["metadata"].get("labels"),
            {k: v for k, v in item["metadata"].get("annotations", {}).items() if "last-applied" not in k},
        ]
        for item in found
    }


@pytest.fixture(scope="module", params=APPLY)
def applied_twice(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """All samples of a namespace after the first and after the second time that they were applied."""
    no_pods = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    arguments = (*APPLY[request.param], "--filename", str(SAMPLES), "--output", "json")
    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        namespace.apply(no_pods)
        first = content(json.loads(namespace.kubectl(*arguments))["items"])
        second = content(json.loads(namespace.kubectl(*arguments))["items"])
        yield first, second


@pytest.mark.parametrize("name", FILES)
def test_it_can_be_applied_twice_without_a_difference(
    applied_twice: tuple[dict[str, Any], dict[str, Any]], name: str
) -> None:
    first, second = applied_twice

    for item in objects(name):
        what = f"{item['kind']} {item['metadata']['name']}"
        assert second[what] == first[what]


@pytest.fixture(scope="module", params=["built-in", "kubernetes"])
def runs(
    cluster: Cluster, s3_service: S3Server, shared_bucket: str, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """All runs among the samples, on the built-in stack, and on one of Jobs and a bucket."""
    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        if request.param == "kubernetes":
            namespace.apply(secret("s3-credentials", **s3_service.credentials))
            namespace.apply(component("bucket", s3(shared_bucket, s3_service.endpoint)))
            namespace.apply(component("kubernetes", {"orchestrator": {"kubernetes": {}}}))
            default = {"cairn.dev/default-stack": "true"}
            namespace.apply(stack("jobs", orchestrator="kubernetes", store="bucket", annotations=default))
            namespace.wait_condition("Stack", "jobs", "Ready", status="True", timeout=60)
        for name in (*PIPELINES, *RUNS):
            for item in objects(name):
                namespace.create(item)
        yield namespace


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_as_its_sample_says(runs: Cluster, name: str) -> None:
    for item in objects(name):
        run = item["metadata"]["name"]
        if name == SUSPENDED:
            runs.wait_condition("PipelineRun", run, "Succeeded", status="Unknown", reason="Suspended", timeout=60)
            runs.patch("PipelineRun", run, {"spec": {"suspend": False}})
        finished = runs.finished(run, timeout=420)
        assert condition(finished, "Succeeded")["reason"] == ENDS_OTHERWISE.get(run, "Completed"), finished["status"]
