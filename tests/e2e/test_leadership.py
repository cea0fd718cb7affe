"""Two operators: one works, the other waits and takes over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, condition, states
from faults import OPERATOR, assert_each_step_ran_once, ready_operator
from manifests import python, run
from operator_release import install
from polling import poll

pytestmark = [pytest.mark.alone, pytest.mark.full]

IN_A_ROW = 10
FAILOVER_SECONDS = 15
RUNS = 5


@pytest.fixture(scope="module", autouse=True)
def two_operators(cluster: Cluster) -> Iterator[None]:
    """Have two operators installed, and one again after that."""
    install("--set", "replicas=2")
    yield
    install("--set", "replicas=1")
    cluster.wait("Deployment", "cairn", lambda body: body.get("status", {}).get("readyReplicas") == 1, 60)
    poll(lambda: cluster.list("Pod", OPERATOR), lambda pods: len(pods) == 1, 60, "there was not one operator")
    ready_operator(cluster)


def leader(cluster: Cluster, other_than: str = "", timeout: float = 60) -> str:
    """Wait until a pod of the operator that is there holds the Lease, other than one, and return its name."""

    def holder() -> str:
        lease = cluster.get("Lease", "cairn") or {}
        pods = {pod["metadata"]["name"] for pod in cluster.list("Pod", OPERATOR)}
        name = str(lease.get("spec", {}).get("holderIdentity") or "")
        return name if name in pods and name != other_than else ""

    return poll(holder, bool, timeout, "no operator works")


def under_way(stacks: Cluster) -> None:
    """Have some runs begin, and wait until one has come to its second step."""
    steps: list[Body] = [
        python("first", "import time; time.sleep(2)"),
        python("second", "import time; time.sleep(5)", dependsOn=["first"]),
        python("third", "pass", dependsOn=["second"]),
    ]
    for number in range(RUNS):
        stacks.create(run(f"run-{number}", steps, on="kubernetes"))
    stacks.wait("PipelineRun", "run-0", lambda body: states(body).get("second") == "Running", 120)


def assert_all_completed(stacks: Cluster) -> None:
    for number in range(RUNS):
        finished = stacks.finished(f"run-{number}", timeout=240)
        assert set(states(finished).values()) == {"Succeeded"}
    assert_each_step_ran_once(stacks)


@pytest.mark.parametrize("time", range(IN_A_ROW))
@pytest.mark.parametrize("grace_period", [0, None], ids=["killed", "told-to-stop"])
def test_when_the_one_that_works_goes_the_other_takes_over(
    cluster: Cluster, stacks: Cluster, grace_period: int | None, time: int
) -> None:
    first = leader(cluster)
    under_way(stacks)

    cluster.delete("Pod", first, grace_period=grace_period)

    assert leader(cluster, other_than=first, timeout=FAILOVER_SECONDS) != first
    assert_all_completed(stacks)


def test_while_one_works_the_other_is_ready_and_waits(cluster: Cluster, stacks: Cluster) -> None:
    works = leader(cluster)
    pods = cluster.list("Pod", OPERATOR)
    (waits,) = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"] != works]
    under_way(stacks)

    log = cluster.kubectl("logs", waits)

    assert "starts to work" not in log
    assert condition(cluster.get("Pod", waits) or {}, "Ready")["status"] == "True"
    assert_all_completed(stacks)
