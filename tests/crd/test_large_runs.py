"""Runs as large as the API server keeps them: the rules must not cost more than it grants to one request."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from cairn.api.base import API_VERSION, JsonObject

from .api_server import ApiServer

STEPS = 500


def run(**of_each_step: Any) -> JsonObject:
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"name": "large"},
        "spec": {
            "pipeline": "large",
            "steps": [{"name": f"s{index}", "image": "i", **of_each_step} for index in range(STEPS)],
        },
    }


LARGE: dict[str, Callable[[], JsonObject]] = {
    "dependencies": lambda: run(dependsOn=[f"s{index}" for index in range(100)]),
    "variables": lambda: run(env=[{"name": f"V{index}", "value": ""} for index in range(90)]),
    "artifacts": lambda: run(
        inputs={"artifacts": [{"name": f"i{index}", "from": "s.a", "path": f"/i/{index}"} for index in range(25)]},
        outputs={"artifacts": [{"name": f"o{index}", "path": f"/o/{index}"} for index in range(25)]},
    ),
    "labels": lambda: run(
        podTemplate={
            "labels": {f"k{index}": "v" for index in range(64)},
            "nodeSelector": {f"k{index}": "v" for index in range(64)},
        }
    ),
    "quantities": lambda: run(
        resources={part: {f"k{index}": "1Gi" for index in range(32)} for part in ("requests", "limits")},
        podTemplate={
            "resources": {part: {f"k{index}": "1Gi" for index in range(32)} for part in ("requests", "limits")}
        },
    ),
    "items": lambda: run(forEach={"items": ["x" * 100] * 15}),
    "conditions": lambda: run(when="x" * 1000),
    "scripts": lambda: run(script="x" * 2600),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_run_is_accepted(name: str, api_server: ApiServer) -> None:
    answer = api_server.dry_run(LARGE[name]())

    assert not answer.refused, answer


@pytest.mark.parametrize("name", ["dependencies", "scripts"])
def test_a_large_run_can_be_suspended_but_not_changed(name: str, api_server: ApiServer) -> None:
    manifest = LARGE[name]()
    existing = api_server.create(manifest)
    try:
        suspended, changed = deepcopy(manifest), deepcopy(manifest)
        suspended["spec"]["suspend"] = True
        changed["spec"]["steps"][-1]["image"] = "another"

        accepted = api_server.dry_run_update(existing, suspended)
        refused = api_server.dry_run_update(existing, changed)
    finally:
        api_server.delete(existing)

    assert not accepted.refused, accepted
    assert refused.names("spec.steps", "steps is immutable"), refused
