"""Runs are recorded once each, whatever becomes of the server and of the operator."""

from __future__ import annotations

from collections import Counter

import pytest

from cluster import Cluster
from faults import ready_operator
from manifests import ORCHESTRATORS, python, run
from mlflow_server import MLflowServer, recorded

pytestmark = [pytest.mark.alone, pytest.mark.full]

RUNS = 20


def test_server_and_operator_are_killed_again_and_again(
    cluster: Cluster, tracked: Cluster, mlflow: MLflowServer
) -> None:
    names = [f"killed-{number}" for number in range(RUNS)]
    for number, name in enumerate(names):
        on = f"tracked-{ORCHESTRATORS[number % 2]}"
        steps = [python("first", "import time; time.sleep(10)"), python("last", "pass", dependsOn=["first"])]
        tracked.create(run(name, steps, on=on, experiment="killed"))

    for _ in range(3):
        mlflow.kill()
        pod = ready_operator(cluster)
        cluster.delete("Pod", pod, grace_period=0)
        ready_operator(cluster, gone=pod)
    for name in names:
        recorded(tracked, name, timeout=300)

    runs = mlflow.runs("team-a/killed")
    assert Counter(one.name for one in runs) == Counter([*names, *["first", "last"] * RUNS])
    assert {one.status for one in runs} == {"FINISHED"}
    parents = {one.id: one.name for one in runs if one.parent is None}
    assert Counter(parents[one.parent] for one in runs if one.parent is not None) == Counter(names * 2)
