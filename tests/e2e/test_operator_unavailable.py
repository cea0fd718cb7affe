"""The operator may go at any moment: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import itertools

import pytest

from cluster import Body, Cluster, states, step
from faults import assert_each_step_ran_once, ready_operator
from manifests import ORCHESTRATORS, python, run

pytestmark = pytest.mark.alone

RUNS = 5
"""On each orchestrator."""

_UNDER_WAY = frozenset({"Running", "Succeeded"})
"""A busy kubelet reports a short step only once it has ended."""


def _chain() -> list[Body]:
    """Three steps that take a moment each and hand something on; the last but one fails in every third run."""
    first = python(
        "first",
        "import json, os, time; time.sleep(2); json.dump({'n': 1}, open(os.environ['CAIRN_RESULTS'], 'w'))",
        outputs={"results": ["n"]},
    )
    second: Body = {
        "name": "second",
        "image": first["image"],
        "command": ["python", "-c", "import sys, time; time.sleep(2); sys.exit(int(sys.argv[1]) - 1)"],
        "args": ["$(params.code)"],
        "dependsOn": ["first"],
    }
    third = python("third", "print('done')", dependsOn=["second"])
    beside = python("beside", "import time; time.sleep(3)")
    return [first, second, third, beside]


def test_force_deleted_while_runs_are_on_their_way(cluster: Cluster, stacks: Cluster) -> None:
    for number in range(RUNS):
        parameters = [{"name": "code", "value": "4" if number % 3 == 0 else "1"}]
        for orchestrator in ORCHESTRATORS:
            stacks.create(run(f"{orchestrator}-{number}", _chain(), on=orchestrator, parameters=parameters))
    stacks.wait("PipelineRun", "kubernetes-0", lambda body: not _UNDER_WAY.isdisjoint(states(body).values()), 120)

    for _ in range(3):
        pod = ready_operator(cluster)
        cluster.delete("Pod", pod, grace_period=0)
        ready_operator(cluster, gone=pod)

    for number, orchestrator in itertools.product(range(RUNS), ORCHESTRATORS):
        finished = stacks.finished(f"{orchestrator}-{number}", timeout=240)
        failing = number % 3 == 0
        assert states(finished) == {
            "first": "Succeeded",
            "second": "Failed" if failing else "Succeeded",
            "third": "Skipped" if failing else "Succeeded",
            "beside": "Succeeded",
        }
        assert all(item["attempts"] <= 1 for item in finished["status"]["steps"])
        if failing:
            assert step(finished, "second")["exitCode"] == 3
    assert_each_step_ran_once(stacks)
