"""Schedules: what only a real clock, and an API server that reads time zones, can show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cluster import Cluster, condition
from faults import ready_operator
from manifests import Body, pipeline, python, schedule_of
from polling import poll

EVERY_MINUTE = "* * * * *"
A_MINUTE_AND_A_BIT = 75


def started_by(namespace: Cluster, schedule: str, timeout: float) -> Body:
    """Wait until a schedule has started a run, and return what it says of that."""
    seen = namespace.wait(
        "PipelineSchedule", schedule, lambda body: "lastRun" in (body.get("status") or {}), timeout, "a run was started"
    )
    return seen["status"]["lastRun"]


def test_a_run_is_started_at_each_time_and_ends(namespace: Cluster) -> None:
    namespace.apply(pipeline("wine", [python("train", "pass")]))

    namespace.apply(schedule_of("wine", "often", EVERY_MINUTE, timeZone="Asia/Kathmandu"))

    started = started_by(namespace, "often", A_MINUTE_AND_A_BIT)
    finished = namespace.finished(started["name"], timeout=180)
    assert condition(finished, "Succeeded")["reason"] == "Completed"
    assert finished["metadata"]["annotations"]["cairn.dev/scheduled-time"] == started["scheduledTime"]
    namespace.delete("PipelineSchedule", "often")
    namespace.wait_gone("PipelineRun", started["name"], 60)


def test_a_schedule_waits_for_its_pipeline(namespace: Cluster) -> None:
    namespace.apply(schedule_of("wine", "daily", "@daily"))
    namespace.wait_condition(
        "PipelineSchedule", "daily", "Ready", status="False", reason="PipelineNotFound", timeout=30
    )

    namespace.apply(pipeline("wine", [python("train", "pass")]))

    namespace.wait_condition("PipelineSchedule", "daily", "Ready", status="True", timeout=30)


def test_a_suspended_schedule_says_so(namespace: Cluster) -> None:
    namespace.apply(pipeline("wine", [python("train", "pass")]))

    namespace.apply(schedule_of("wine", "paused", EVERY_MINUTE, suspend=True))

    namespace.wait_condition("PipelineSchedule", "paused", "Suspended", status="True", timeout=30)


@pytest.mark.alone
@pytest.mark.full
def test_a_time_that_passed_without_an_operator_is_caught_up(cluster: Cluster, namespace: Cluster) -> None:
    namespace.apply(pipeline("wine", [python("train", "pass")]))
    pod = ready_operator(cluster)
    cluster.patch("Deployment", "cairn", {"spec": {"replicas": 0}})
    try:
        cluster.wait_gone("Pod", pod, 60)
        due = (datetime.now(UTC) + timedelta(seconds=70)).replace(second=0, microsecond=0)
        namespace.apply(schedule_of("wine", "once", f"{due.minute} {due.hour} * * *"))
        poll(lambda: datetime.now(UTC), lambda now: now > due, 90, "the time did not come")
    finally:
        cluster.patch("Deployment", "cairn", {"spec": {"replicas": 1}})
        ready_operator(cluster, gone=pod)

    seen = started_by(namespace, "once", 60)
    assert datetime.fromisoformat(seen["scheduledTime"]) == due
