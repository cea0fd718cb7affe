"""A run can be suspended and resumed, and deleted; nothing starts, or is left, that should not."""

from __future__ import annotations

from cluster import Body, Cluster, states, step
from manifests import HOLD, python, run


def pods_of(cluster: Cluster, name: str) -> list[Body]:
    """Return a run's pods."""
    return cluster.list("Pod", f"cairn.dev/run={name}")


def test_a_suspended_run_starts_nothing_until_it_is_resumed(shared_stacks: Cluster, workload: str) -> None:
    """The steps differ in a label, so that each has its own pod everywhere: one pod for all cannot be held half-way."""
    name = f"suspended-{workload}"
    steps = [python("first", HOLD), python("second", "print('fine')", dependsOn=["first"])]
    steps[1]["podTemplate"] = {"labels": {"example.com/pod": "another"}}
    shared_stacks.create(run(name, steps, on=workload, suspend=True))
    _wait_for(shared_stacks, name, "Suspended")
    assert pods_of(shared_stacks, name) == []

    shared_stacks.patch("PipelineRun", name, {"spec": {"suspend": False}})
    shared_stacks.wait("PipelineRun", name, lambda body: states(body).get("first") == "Running", 120)
    shared_stacks.patch("PipelineRun", name, {"spec": {"suspend": True}})
    shared_stacks.release(name, "first")
    _wait_for(shared_stacks, name, "Suspended")
    held = shared_stacks.get("PipelineRun", name)
    assert held is not None
    assert states(held) == {"first": "Succeeded", "second": "Pending"}
    assert len(pods_of(shared_stacks, name)) == 1

    shared_stacks.patch("PipelineRun", name, {"spec": {"suspend": False}})
    assert states(shared_stacks.finished(name)) == {"first": "Succeeded", "second": "Succeeded"}


def _wait_for(cluster: Cluster, name: str, reason: str) -> None:
    cluster.wait_condition("PipelineRun", name, "Succeeded", status="Unknown", reason=reason, timeout=120)


def test_a_deleted_run_leaves_nothing_and_its_name_can_be_used_at_once(shared_stacks: Cluster, workload: str) -> None:
    name = f"deleted-{workload}"
    sleeps = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(0))\ntime.sleep(600)"
    shared_stacks.create(run(name, [python("work", sleeps)], on=workload))
    shared_stacks.wait("PipelineRun", name, lambda body: states(body).get("work") == "Running", 120)
    (old,) = pods_of(shared_stacks, name)

    shared_stacks.delete("PipelineRun", name)
    shared_stacks.create(run(name, [python("work", "print('fine')")], on=workload))

    finished = shared_stacks.finished(name)
    assert step(finished, "work")["attempts"] == 1
    if workload != "pods":  # there the new one has the name of the old one, which was gone before
        shared_stacks.wait_gone("Pod", old["metadata"]["name"], 60)
    (new,) = pods_of(shared_stacks, name)
    assert new["metadata"]["name"] == step(finished, "work")["podName"]
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    jobs = [job["metadata"]["name"] for job in shared_stacks.list("Job", f"cairn.dev/run={name}")]
    assert jobs == ([] if workload == "pods" else [step(finished, "work")["jobName"]])

    shared_stacks.delete("PipelineRun", name)
    for job in jobs:
        shared_stacks.wait_gone("Job", job, 60)
    shared_stacks.wait_gone("Pod", new["metadata"]["name"], 60)
