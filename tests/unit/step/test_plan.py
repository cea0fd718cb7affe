"""The plan, as the operator writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cairn.step.errors import PlanError
from cairn.step.plan import (
    FetchPlan,
    Input,
    LocalSettings,
    Output,
    PublishPlan,
    S3Settings,
    parse_fetch,
    parse_publish,
)

LOCAL = {"local": {"root": "/cairn/store", "claim": "cairn-bucket"}}


def test_a_fetch_plan_is_read():
    text = json.dumps(
        {
            "store": {
                "s3": {
                    "bucket": "b",
                    "endpoint": "http://s3:7070",
                    "region": "eu-west-1",
                    "addressingStyle": "Path",
                    "caFile": "/cairn/ca/ca.crt",
                }
            },
            "artifacts": [
                {"name": "dataset", "uri": "s3://b/k", "digest": "sha256:ab", "path": "/cairn/work/inputs/dataset"}
            ],
        }
    )

    assert parse_fetch(text) == FetchPlan(
        S3Settings("b", "http://s3:7070", "eu-west-1", "Path", Path("/cairn/ca/ca.crt")),
        (Input("dataset", "s3://b/k", Path("/cairn/work/inputs/dataset"), "sha256:ab"),),
    )


def test_a_publish_plan_is_read():
    text = json.dumps(
        {
            "store": LOCAL,
            "artifacts": [{"name": "m", "uri": "pvc://c/k", "path": "/w/m", "declaredPath": "/out/m"}],
            "resultsPath": "/cairn/work/results/train.json",
        }
    )

    assert parse_publish(text) == PublishPlan(
        LocalSettings(Path("/cairn/store"), "cairn-bucket"),
        (Output("m", "pvc://c/k", Path("/w/m"), "/out/m"),),
        Path("/cairn/work/results/train.json"),
    )


def test_what_the_operator_leaves_out_of_s3_has_a_default():
    plan = parse_fetch('{"store":{"s3":{"bucket":"b","endpoint":null}},"artifacts":[]}')

    assert plan.store == S3Settings("b", None, "us-east-1", "Auto", None)


def artifact(**changes: object) -> dict[str, Any]:
    return {"store": LOCAL, "artifacts": [{"name": "m", "uri": "pvc://c/k", "path": "/w/m", **changes}]}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (None, "not set"),
        ("{", "not JSON"),
        ("[]", "plan is not an object"),
        ('{"artifacts":[]}', "plan.store is not an object"),
        ('{"store":{},"artifacts":[]}', "neither s3 nor local"),
        ('{"store":{"s3":{}},"artifacts":[]}', "plan.store.s3.bucket"),
        ('{"store":{"s3":{"bucket":"b","addressingStyle":"Best"}},"artifacts":[]}', "addressingStyle Best"),
        (json.dumps({"store": LOCAL}), "plan.artifacts is not a list"),
        (json.dumps(artifact(uri=1)), "plan.artifacts[0].uri"),
        (json.dumps(artifact(path="relative")), "plan.artifacts[0].path"),
        (json.dumps(artifact(path="/w/../etc")), "plan.artifacts[0].path"),
    ],
)
def test_a_plan_that_cannot_be_used_says_where(plan: str | None, words: str):
    with pytest.raises(PlanError) as caught:
        parse_fetch(plan)

    assert words in caught.value.message
