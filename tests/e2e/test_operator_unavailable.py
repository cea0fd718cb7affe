"""The operator may go at any moment: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import pytest

from cluster import Body, Cluster, states, step
from manifests import python, run

RUNS = 10


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


@pytest.mark.parametrize("orchestrator", ["kubernetes", "local"])
def test_force_deleted_while_runs_are_on_their_way(cluster: Cluster, stacks: Cluster, orchestrator: str) -> None:
    for number in range(RUNS):
        parameters = [{"name": "code", "value": "4" if number % 3 == 0 else "1"}]
        stacks.create(run(f"run-{number}", _chain(), on=orchestrator, parameters=parameters))
    stacks.wait(
        "PipelineRun", "run-0", lambda body: "Running" in states(body).values() if "status" in body else False, 60
    )

    for _ in range(3):
        (pod,) = cluster.list("Pod", "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator")
        cluster.delete("Pod", pod["metadata"]["name"], grace_period=0)
        cluster.wait(
            "Deployment",
            "cairn",
            lambda body: body["status"].get("readyReplicas") == 1 and body["status"].get("unavailableReplicas", 0) == 0,
            90,
        )

    for number in range(RUNS):
        finished = stacks.finished(f"run-{number}", timeout=240)
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
    _assert_each_attempt_has_one_job(stacks)


def _assert_each_attempt_has_one_job(namespace: Cluster) -> None:
    jobs = namespace.list("Job")
    attempts = [
        (job["metadata"]["annotations"]["cairn.dev/run-name"], attempt)
        for job in jobs
        for attempt in job["metadata"]["annotations"]["cairn.dev/attempts"].split(",")
    ]
    ran = [attempt for attempt in attempts if _has_run(namespace, *attempt)]
    assert len(ran) == len(set(ran)), sorted(ran)
    pods = namespace.list("Pod", "cairn.dev/run")
    owners = [owner["name"] for pod in pods for owner in pod["metadata"]["ownerReferences"]]
    assert len(owners) == len(set(owners)), "a Job has made more than one pod"


def _has_run(namespace: Cluster, name: str, attempt: str) -> bool:
    """Return whether the step of a run was attempted by that Job, and not only planned for a pod that ended before."""
    body = namespace.get("PipelineRun", name)
    assert body is not None
    step_name, _, number = attempt.partition("=")
    return step(body, step_name)["attempts"] == int(number)
