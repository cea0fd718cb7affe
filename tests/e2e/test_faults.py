"""Faults under way: the runs end as if nothing had happened, and each of their steps has run once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, condition, states
from faults import assert_each_step_ran_once, internal_errors, nodes, on_node, ready_operator, too_many_requests
from manifests import WORKLOADS, python, run
from polling import poll

pytestmark = [pytest.mark.alone, pytest.mark.full]

FAULT_SECONDS = 30.0
NODE_AWAY_SECONDS = 60.0
KILLS = 50
KILL_API_SERVER = """
for process in /proc/[0-9]*; do
    [ "$(cat $process/comm 2>/dev/null)" != kube-apiserver ] || kill -9 "${process#/proc/}"
done
"""
"""On a node, whose processes are its own; the kubelet starts another one."""


def chain(length: int, seconds: int) -> list[Body]:
    """Steps one after another, each of which takes that long."""
    return [
        python(
            f"s{index}", f"import time; time.sleep({seconds})", **({"dependsOn": [f"s{index - 1}"]} if index else {})
        )
        for index in range(length)
    ]


def fan_out(width: int, seconds: int) -> list[Body]:
    """Steps beside each other, each of which takes that long."""
    return [python(f"s{index}", f"import time; time.sleep({seconds})") for index in range(width)]


@pytest.fixture
def runs(shared_stacks: Cluster) -> Iterator[Cluster]:
    """The runs of one test: Jobs of earlier ones would go, some time after the end of their run, while it looks on."""
    yield shared_stacks
    for body in shared_stacks.list("PipelineRun"):
        shared_stacks.delete("PipelineRun", body["metadata"]["name"])
    for pod in shared_stacks.list("Pod", "cairn.dev/run"):
        shared_stacks.wait_gone("Pod", pod["metadata"]["name"], 120)


@pytest.fixture
def under_way(runs: Cluster) -> Cluster:
    """A chain and a fan-out on each workload, the first steps of which run."""
    for on in WORKLOADS:
        runs.create(run(f"chain-{on}", chain(6, 8), on=on))
        runs.create(run(f"fan-{on}", fan_out(4, 15), on=on))
    for on in WORKLOADS:
        runs.wait("PipelineRun", f"chain-{on}", lambda body: states(body).get("s0") in {"Running", "Succeeded"}, 180)
    return runs


def assert_nothing_came_of_it(runs: Cluster) -> None:
    """Check that all runs end well, with one attempt of each step."""
    for body in runs.list("PipelineRun"):
        ended = runs.finished(body["metadata"]["name"], timeout=400)
        assert condition(ended, "Succeeded")["reason"] == "Completed", ended["status"]
        assert {step["attempts"] for step in ended["status"]["steps"]} == {1}, ended["status"]["steps"]
    assert_each_step_ran_once(runs)


def test_the_api_server_has_too_many_requests(cluster: Cluster, under_way: Cluster) -> None:
    with too_many_requests(cluster):
        time.sleep(FAULT_SECONDS)

    assert_nothing_came_of_it(under_way)


def test_the_api_server_fails_to_make_anything(under_way: Cluster) -> None:
    with internal_errors(under_way):
        time.sleep(FAULT_SECONDS)

    assert_nothing_came_of_it(under_way)


def test_a_node_does_not_answer_for_a_while(cluster: Cluster, under_way: Cluster) -> None:
    (worker,) = nodes(cluster, control_plane=False)

    on_node(worker, "systemctl", "stop", "kubelet")
    try:
        cluster.wait("Node", worker, lambda node: condition(node, "Ready").get("status") == "Unknown", 120)
        time.sleep(NODE_AWAY_SECONDS)
    finally:
        on_node(worker, "systemctl", "start", "kubelet")

    cluster.wait("Node", worker, lambda node: condition(node, "Ready").get("status") == "True", 120)
    assert_nothing_came_of_it(under_way)


def test_two_operators_run_by_mistake(cluster: Cluster, under_way: Cluster) -> None:
    cluster.patch("Deployment", "cairn", {"spec": {"replicas": 2}})
    try:
        cluster.wait("Deployment", "cairn", lambda body: body["status"].get("readyReplicas") == 2, 120)
        for on in WORKLOADS:
            under_way.create(
                run(f"second-{on}", [*fan_out(3, 2), python("last", "pass", dependsOn=["s0", "s1", "s2"])], on=on)
            )

        assert_nothing_came_of_it(under_way)
    finally:
        cluster.patch("Deployment", "cairn", {"spec": {"replicas": 1}})
        cluster.wait("Deployment", "cairn", lambda body: body["status"].get("replicas") == 1, 120)


def test_the_operator_is_killed_again_and_again(cluster: Cluster, runs: Cluster) -> None:
    for on in WORKLOADS:
        runs.create(run(f"long-{on}", chain(20, 10), on=on))
    for number in range(20):
        runs.create(run(f"one-{number}", [python("only", "import time; time.sleep(30)")], on=WORKLOADS[number % 3]))

    for _ in range(KILLS):
        pod = ready_operator(cluster)
        cluster.delete("Pod", pod, grace_period=0)
        ready_operator(cluster, gone=pod)

    assert_nothing_came_of_it(runs)


def test_the_api_server_is_restarted(cluster: Cluster, under_way: Cluster) -> None:
    (control_plane,) = nodes(cluster, control_plane=True)

    system = cluster.within("kube-system")
    api_server = f"kube-apiserver-{control_plane}"
    before = restarts(system.get("Pod", api_server) or {})

    on_node(control_plane, "sh", "-c", KILL_API_SERVER)

    _wait_for_the_api_server()
    system.wait("Pod", api_server, lambda body: restarts(body) > before, 120, "restarted")
    assert_nothing_came_of_it(under_way)


def restarts(pod: Body) -> int:
    """How often the first container of a pod was started again."""
    return pod["status"]["containerStatuses"][0]["restartCount"]


def _wait_for_the_api_server() -> None:
    def answer() -> str:
        asks = ["kubectl", "get", "--raw", "/readyz"]
        return subprocess.run(asks, capture_output=True, text=True, check=False).stdout

    poll(answer, lambda text: text == "ok", 180, "the API server was not ready again")
