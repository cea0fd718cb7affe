"""What is told of the pods of a release."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cairn.api.base import JsonObject
from cairn.components.releases.pods import HOMELESS, STUCK, is_stuck, of_attempt, problem_of, progress_of, unready_of

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pod(
    state: JsonObject | None = None, *, name: str = "server-1", made: datetime = BEGAN, **status: object
) -> JsonObject:
    """Return a pod with one container."""
    containers = [{"name": "server", "ready": state is None, **(state or {"state": {"running": {}}})}]
    metadata = {"name": name, "namespace": "ml", "creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"metadata": metadata, "status": {"containerStatuses": containers, **status}}


def waiting(reason: str, message: str = "") -> JsonObject:
    """Return the state of a container that waits."""
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def test_a_pod_that_runs_has_no_problem():
    assert problem_of([pod()]) is None


def test_a_pod_on_its_way_has_none_either():
    assert problem_of([pod(waiting("ContainerCreating"))]) is None


def test_an_image_that_is_missing_is_told():
    assert problem_of([pod(waiting("ImagePullBackOff", "no such image"))]) == (
        "pod server-1: container server waits: ImagePullBackOff: no such image"
    )


def test_a_container_that_ends_again_and_again_is_told_with_its_last_words():
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": "line one\nno such database\n"}}

    problem = problem_of([pod({**waiting("CrashLoopBackOff", "back-off 10s"), "lastState": ended})])

    assert problem == (
        "pod server-1: container server waits: CrashLoopBackOff: back-off 10s; it ended with Error, exit code 1: "
        "no such database"
    )


def test_a_job_that_has_failed_is_told():
    ended = {"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}

    assert problem_of([pod(ended)]) == "pod server-1: container server ended with OOMKilled, exit code 137"


def test_a_job_that_has_succeeded_is_not():
    assert problem_of([pod({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}})]) is None


def test_a_pod_without_a_node_is_told():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient memory"}

    assert problem_of([pod(conditions=[condition])]) == "pod server-1: Unschedulable: Insufficient memory"


@pytest.mark.parametrize(
    "message",
    [
        "no way to postgresql://cairn:secret@db:5432/mlflow",
        "cannot parse postgresql//cairn:secret@db",
        'could not translate host name "secret@db" to address',
    ],
)
def test_a_log_in_that_a_program_tells_of_is_left_out(message: str):
    ended = {"state": {"terminated": {"reason": "Error", "exitCode": 1, "message": message}}}

    assert "secret" not in (problem_of([pod(ended)]) or "")


def test_it_is_stuck_when_it_has_waited_for_long():
    pods = [pod(waiting("ErrImagePull"))]

    assert not is_stuck(pods, BEGAN, BEGAN + STUCK - timedelta(seconds=1))
    assert is_stuck(pods, BEGAN, BEGAN + STUCK)


def test_it_is_not_stuck_as_long_as_it_is_on_its_way():
    assert not is_stuck([pod(waiting("ContainerCreating"))], BEGAN, BEGAN + 10 * STUCK)


def test_it_is_stuck_without_a_node_when_none_comes():
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient memory"}
    pods = [pod(conditions=[condition])]

    assert not is_stuck(pods, BEGAN, BEGAN + STUCK)
    assert is_stuck(pods, BEGAN, BEGAN + HOMELESS)


def test_the_time_before_helm_began_does_not_count():
    pods = [pod(waiting("ErrImagePull"), made=BEGAN - 10 * STUCK)]

    assert not is_stuck(pods, BEGAN, BEGAN + STUCK / 2)


def test_pods_of_an_attempt_are_those_made_since():
    old, new = pod(name="old", made=BEGAN - timedelta(hours=1)), pod(name="new")

    assert of_attempt([old, new], BEGAN + timedelta(milliseconds=500)) == [new]
    assert of_attempt([old], BEGAN) == [old]


def test_a_job_that_is_at_work_is_told_with_the_way_to_its_log():
    migration = pod(name="migration-1", phase="Running")
    migration["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "migration"}]

    assert progress_of([pod(phase="Running"), migration]) == (
        "the Job of pod migration-1 is at work; its log tells at what: kubectl logs migration-1 --namespace ml"
    )


def test_servers_that_start_are_not_worth_a_word():
    assert progress_of([pod(phase="Running")]) is None


def test_what_keeps_a_pod_from_running_is_told_first():
    assert progress_of([pod(waiting("ImagePullBackOff"))]) == "pod server-1: container server waits: ImagePullBackOff"


def test_a_pod_that_serves_has_nothing_that_keeps_it_from_it():
    assert unready_of([pod()]) is None


def test_a_pod_that_runs_and_does_not_serve_is_told_with_the_way_to_the_reason():
    assert unready_of([pod(), pod({"state": {"running": {}}}, name="server-2")]) == (
        "pod server-2: container server runs, but is not ready; its readiness probe tells why: "
        "kubectl describe pod server-2 --namespace ml"
    )


def test_what_keeps_a_pod_from_running_keeps_it_from_serving():
    assert unready_of([pod(waiting("ImagePullBackOff"))]) == "pod server-1: container server waits: ImagePullBackOff"


def test_a_job_that_has_failed_does_not_keep_a_server_from_serving():
    ended = {"state": {"terminated": {"reason": "Error", "exitCode": 1}}}

    assert unready_of([pod(ended, phase="Failed")]) is None


def test_neither_does_a_pod_that_goes():
    going = pod({"state": {"running": {}}})
    going["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"

    assert unready_of([going]) is None
