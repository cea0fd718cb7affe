"""The operator is upgraded from the version before while runs go on, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import Cluster, states
from faults import assert_each_step_ran_once, ready_operator
from images import image
from manifests import python, run
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
        python("first", "import time; time.sleep(3)"),
        python("second", "import time; time.sleep(10)", dependsOn=["first"]),
        python("third", "import time; time.sleep(10)", dependsOn=["second"]),
        python("fourth", "pass", dependsOn=["third"]),
    ]
    for number in range(RUNS):
        stacks.create(run(f"run-{number}", steps, on="kubernetes"))
    stacks.wait("PipelineRun", "run-0", lambda body: states(body).get("second") == "Running", 120)

    install()
    wait_for_one(cluster, image("OPERATOR_IMAGE"))
    upgraded_at = [states(body) for body in stacks.list("PipelineRun")]
    roll_back(cluster)

    assert any("Running" in found.values() for found in upgraded_at), "all had ended before the upgrade was over"
    for number in range(RUNS):
        finished = stacks.finished(f"run-{number}", timeout=300)
        assert set(states(finished).values()) == {"Succeeded"}
    assert_each_step_ran_once(stacks)
    assert {step["attempts"] for body in stacks.list("PipelineRun") for step in body["status"]["steps"]} == {1}
