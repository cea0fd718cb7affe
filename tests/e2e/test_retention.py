"""What is left of a run that has ended goes in its time, and not before."""

from __future__ import annotations

import pytest

from cluster import Body, Cluster, condition
from manifests import WORKLOADS, python, run, stack

QUICK = [python("quick", "print('done')")]


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster) -> Cluster:
    """Stacks that keep little."""
    for on in WORKLOADS:
        shared_stacks.apply(stack(f"keeps-no-jobs-{on}", orchestrator=on, store="bucket", keepJobsSeconds=3))
        limits: Body = {"successfulRunsHistoryLimit": 1, "failedRunsHistoryLimit": 2}
        shared_stacks.apply(stack(f"keeps-few-{on}", orchestrator=on, store="bucket", **limits))
    return shared_stacks


def test_a_run_is_deleted_some_time_after_its_end_and_its_jobs_with_it(runs: Cluster, workload: str) -> None:
    name = f"expires-{workload}"
    runs.create(run(name, QUICK, on=workload, ttlSecondsAfterFinished=3))

    ended = runs.finished(name)
    runs.wait_gone("PipelineRun", name, timeout=20)

    assert condition(ended, "Succeeded")["reason"] == "Completed"
    runs.wait_gone("Pod", ended["status"]["steps"][0]["podName"], timeout=20)


def test_the_time_of_a_run_that_has_ended_can_be_set(runs: Cluster, workload: str) -> None:
    name = f"expires-later-{workload}"
    runs.create(run(name, QUICK, on=workload))
    runs.finished(name)

    runs.patch("PipelineRun", name, {"spec": {"ttlSecondsAfterFinished": 0}})

    runs.wait_gone("PipelineRun", name, timeout=20)


def test_jobs_go_some_time_after_the_end_of_their_run_which_stays(runs: Cluster, workload: str) -> None:
    name = f"jobs-go-{workload}"
    runs.create(run(name, QUICK, on=f"keeps-no-jobs-{workload}"))
    ended = runs.finished(name)

    quick = ended["status"]["steps"][0]
    if workload != "pods":
        runs.wait_gone("Job", quick["jobName"], timeout=30)
    runs.wait_gone("Pod", quick["podName"], timeout=30)

    left = runs.get("PipelineRun", name)
    assert left is not None
    assert left["status"] == ended["status"]


def test_a_stack_keeps_as_many_runs_of_a_pipeline_as_it_says(runs: Cluster, workload: str) -> None:
    on = f"keeps-few-{workload}"
    fails = [python("quick", "raise SystemExit(3)")]
    for number, steps in enumerate((QUICK, fails, QUICK, fails), start=1):
        runs.create(run(f"history-{number}-{workload}", steps, on=on))
        runs.finished(f"history-{number}-{workload}")

    runs.wait_gone("PipelineRun", f"history-1-{workload}", timeout=20)

    left = [name_of(item) for item in runs.list("PipelineRun") if item["spec"].get("stackRef") == {"name": on}]
    assert sorted(left) == [f"history-{number}-{workload}" for number in (2, 3, 4)]


def name_of(body: Body) -> str:
    return body["metadata"]["name"]
