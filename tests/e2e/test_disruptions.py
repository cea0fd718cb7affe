"""What the cluster takes a pod away for is not charged to the step, which is made again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, states, step
from manifests import HOLD, WORKLOADS, python, run

ENDS_WELL_WHEN_TOLD_TO = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('ready')
if os.environ['CAIRN_ATTEMPT'] == '1':
    time.sleep(600)
"""

THIS_TIME = secrets.token_hex(4)


def resource_of(workload: str) -> str:
    """An extended resource of which there is one, for the run on that workload and who preempts it."""
    return f"example.com/{THIS_TIME}-for-{workload}"


@pytest.fixture(scope="module")
def only_one(cluster: Cluster) -> Iterator[None]:
    """A node that has one of each of these resources."""
    node = cluster.list("Node", selector="!node-role.kubernetes.io/control-plane")[0]["metadata"]["name"]
    paths = [f"/status/capacity/{resource_of(workload).replace('/', '~1')}" for workload in WORKLOADS]
    patch_status = ("patch", "node", node, "--subresource=status", "--type=json", "--patch")
    cluster.kubectl(*patch_status, json.dumps([{"op": "add", "path": path, "value": "1"} for path in paths]))
    yield
    cluster.kubectl(*patch_status, json.dumps([{"op": "remove", "path": path} for path in paths]))


@pytest.fixture(scope="module")
def priority(cluster: Cluster) -> Iterator[str]:
    """A PriorityClass whose pods preempt those of steps."""
    name = f"e2e-{secrets.token_hex(4)}"
    cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
    )
    yield name
    cluster.kubectl("delete", "priorityclass", name)


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster, only_one: None) -> Cluster:
    """All runs of this module, started together."""
    for on in WORKLOADS:
        evicted = python("sleeps", ENDS_WELL_WHEN_TOLD_TO)
        shared_stacks.create(run(f"evicted-{on}", [evicted], on=on))
        shared_stacks.create(run(f"preempted-{on}", [{**evicted, "resources": the_only(resource_of(on))}], on=on))
    return shared_stacks


def the_only(resource: str) -> Body:
    """The resources of a step that wants the one there is."""
    return {"requests": {resource: "1"}, "limits": {resource: "1"}}


def first_pod(runs: Cluster, name: str) -> str:
    """Wait until the step runs and heeds SIGTERM, and return its pod's name."""
    running = runs.wait("PipelineRun", name, lambda body: states(body).get("sleeps") == "Running", 180, "sleeps runs")
    pod = step(running, "sleeps")["podName"]
    runs.wait_log(pod, "sleeps", "ready")
    return pod


def made_again(finished: Body) -> tuple[object, ...]:
    """What the status says of the step that was made again, and of its first attempt."""
    again = step(finished, "sleeps")
    (first,) = again["previousAttempts"]
    assert (again["disruptions"], again["retriesUsed"], first["charged"]) == (1, 0, False)
    return again["state"], again["attempts"], first["reason"], first["exitCode"]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_step_whose_pod_is_evicted_as_a_drain_does_is_made_again_also_if_it_ends_well_when_told_to(
    runs: Cluster, workload: str
) -> None:
    name = f"evicted-{workload}"
    pod = first_pod(runs, name)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": runs.namespace}}

    runs.kubectl(
        "create",
        "--raw",
        f"/api/v1/namespaces/{runs.namespace}/pods/{pod}/eviction",
        "--filename=-",
        feed=json.dumps(eviction),
    )

    assert made_again(runs.finished(name)) == ("Succeeded", 2, "EvictionByEvictionAPI", 0)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_step_that_is_preempted_is_made_again(runs: Cluster, workload: str, priority: str) -> None:
    name, preemptor = f"preempted-{workload}", f"preempts-{workload}"
    first_pod(runs, name)
    more_urgent = {"resources": the_only(resource_of(workload)), "podTemplate": {"priorityClassName": priority}}

    runs.create(run(preemptor, [python("waits", HOLD, **more_urgent)], on=workload))
    runs.release(preemptor, "waits")

    assert made_again(runs.finished(name)) == ("Succeeded", 2, "PreemptionByScheduler", 0)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_loses_its_labels_gets_them_again_and_its_step_goes_on(runs: Cluster, workload: str) -> None:
    name = f"unlabelled-{workload}"
    runs.create(run(name, [python("waits", HOLD)], on=workload))
    running = runs.wait("PipelineRun", name, lambda body: states(body).get("waits") == "Running", 180, "waits runs")
    of_step = step(running, "waits")
    kind = "Pod" if workload == "pods" else "Job"
    there = of_step["podName" if kind == "Pod" else "jobName"]

    runs.kubectl("label", kind, there, "cairn.dev/run-", "cairn.dev/step-")

    runs.wait(kind, there, lambda body: "cairn.dev/run" in body["metadata"]["labels"], 60, "labels")
    runs.release(name, "waits")
    ended = step(runs.finished(name), "waits")
    assert (ended["state"], ended["attempts"]) == ("Succeeded", 1)
