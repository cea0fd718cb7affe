"""The operator is upgraded from the version before while runs go on, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import Cluster, states
from faults import assert_each_step_ran_once, ready_operator
from images import CHECKOUT, image
from manifests import HOLD, python, run
from operator_release import install, install_previous, roll_back, wait_for_one

pytestmark = [pytest.mark.alone, pytest.mark.full]

RUNS = 20
IN_A_ROW = 10


@pytest.fixture(autouse=True)
def this_version_afterwards(cluster: Cluster) -> Iterator[None]:
    yield
    install()
    ready_operator(cluster)


@pytest.mark.parametrize("time", range(IN_A_ROW))
def test_runs_that_go_on_meanwhile_are_run_once_and_to_their_end(cluster: Cluster, stacks: Cluster, time: int) -> None:
    install_previous(cluster)
    steps = [
        python("first", "pass"),
        python("during", HOLD, dependsOn=["first"]),
        python("after", HOLD, dependsOn=["during"]),
        python("last", "pass", dependsOn=["after"]),
    ]
    names = [f"run-{number}" for number in range(RUNS)]
    for name in names:
        stacks.create(run(name, steps, on="kubernetes"))
    stacks.wait("PipelineRun", names[0], lambda body: states(body).get("during") == "Running", 180)

    # An upgrade begins with the CRDs; what is applied now is the old operator's.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", str(CHECKOUT / "crds"))
    stacks.create(run("between", [python("only", "pass")], on="kubernetes"))
    stacks.finished("between")
    install()
    wait_for_one(cluster, image("OPERATOR_IMAGE"))
    for name in names:
        stacks.release(name, "during")
    roll_back(cluster)
    for name in names:
        stacks.release(name, "after")

    for name in names:
        assert set(states(stacks.finished(name, timeout=300)).values()) == {"Succeeded"}
    assert_each_step_ran_once(stacks)
    assert {step["attempts"] for body in stacks.list("PipelineRun") for step in body["status"]["steps"]} == {1}
