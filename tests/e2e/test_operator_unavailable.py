"""The operator may go at any moment: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, condition, states, step
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
        pod = _ready_operator(cluster)
        cluster.delete("Pod", pod, grace_period=0)
        _ready_operator(cluster, gone=pod)

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
    _assert_each_step_ran_once(stacks)


def _ready_operator(cluster: Cluster, gone: str = "") -> str:
    """Wait until a pod of the operator is ready, other than one that was deleted, and return its name."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for pod in cluster.list("Pod", "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator"):
            if pod["metadata"]["name"] != gone and condition(pod, "Ready").get("status") == "True":
                return pod["metadata"]["name"]
        time.sleep(0.2)
    raise AssertionError("no pod of the operator was ready within 90 s")


def _assert_each_step_ran_once(namespace: Cluster) -> None:
    pods = namespace.list("Pod", "cairn.dev/run")
    jobs = [owner["name"] for pod in pods for owner in pod["metadata"]["ownerReferences"]]
    assert len(jobs) == len(set(jobs)), "a Job has made more than one pod"
    ran = sorted(started for pod in pods for started in _started(pod))
    wanted = sorted(
        (body["metadata"]["name"], item["name"])
        for body in namespace.list("PipelineRun")
        for item in body["status"]["steps"]
        if item["state"] != "Skipped"
    )
    assert ran == wanted
    alone = [job["metadata"]["name"] for job in namespace.list("Job", "cairn.dev/stack=kubernetes")]
    assert len(alone) == len([name for name, _ in wanted if name.startswith("kubernetes")])


def _started(pod: Body) -> Iterator[tuple[str, str]]:
    """Yield the run and the name of each step that has started in a pod, which may be fewer than it was made for."""
    run_name = pod["metadata"]["annotations"]["cairn.dev/run-name"]
    statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ())]
    for container in statuses:
        if not container["name"].startswith("cairn-") and "waiting" not in container["state"]:
            yield run_name, container["name"]
