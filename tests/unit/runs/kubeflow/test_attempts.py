"""The attempts of a run on Kubeflow Pipelines, as it was recorded, and as pods tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.time import parse
from cairn.components.base import StoreUnavailableError
from cairn.runs.kubeflow.attempts import NODE_NAME_ANNOTATION, Sight, attempts_of
from cairn.runs.kubeflow.outputs import OutputsInvalidError, StepOutputs
from cairn.runs.kubeflow.prelude import NOT_WRITTEN
from cairn.runs.kubeflow.run_details import RunDetails, TaskDetails, details_of
from cairn.runs.observation import AttemptObservation, Fault, KeptArtifact, Phase
from cairn.runs.pod import RESULTS_FILE
from tests.unit.builders import NOW, outputs, step

RECORDINGS = Path(__file__).parents[3] / "kfp/recordings"
LATER = "2026-01-02T03:05:05Z"
WRITTEN = StepOutputs({"model": KeptArtifact("s3://b/model", "sha256:1", 7)}, {"rmse": "0.5"})


def recorded(name: str, index: int = -1) -> RunDetails:
    """Return what was told of a recorded run at some time."""
    return details_of(json.loads((RECORDINGS / f"{name}.json").read_text())[index]["response"]["body"])


def told(**tasks: str | None) -> RunDetails:
    """Return what is told of a run whose tasks have these states."""
    found = {name.replace("_", "-"): TaskDetails(state, NOW, None) for name, state in tasks.items()}
    return RunDetails("RUNNING", was_terminated=False, tasks=found)


def pod(number: int | None = None, *, uid: str = "1", phase: str = "Running", **state: Any) -> JsonObject:
    """Return the pod of an attempt of the step `train`, with the state of its container."""
    of = "executor" if number is None else f"executor({number})"
    metadata = {
        "name": f"wine-impl-{uid}",
        "uid": uid,
        "creationTimestamp": NOW,
        "annotations": {NODE_NAME_ANNOTATION: f"wine-x2.root.train.{of}"},
    }
    spec = {
        "nodeName": "node",
        "initContainers": [{"name": "init"}],
        "containers": [{"name": "wait"}, {"name": "main"}],
    }
    status: JsonObject = {"phase": phase}
    if state:
        status["containerStatuses"] = [{"name": "main", "state": state}]
    return {"metadata": metadata, "spec": spec, "status": status}


def ended(code: int, **fields: Any) -> JsonObject:
    return {
        "exitCode": code,
        "startedAt": NOW,
        "finishedAt": LATER,
        "reason": "Error" if code else "Completed",
        **fields,
    }


def seen(details: RunDetails, *pods: JsonObject, names: str = "train", **known: Any) -> list[AttemptObservation]:
    sight = Sight(details, pods, parse(LATER), **known)
    return list(attempts_of(sight, {name: step(name) for name in names.split()}))


class TestAsRecorded:
    def test_of_a_new_run_no_attempt_has_begun(self):
        assert seen(recorded("poll-ok", 0), names="prep train") == []

    def test_a_step_that_is_left_out_is_not_attempted(self):
        sight = Sight(told(train="SKIPPED"), [], parse(NOW))

        assert list(attempts_of(sight, {"train": step("train")})) == []

    def test_a_step_that_runs(self):
        (prep,) = seen(recorded("poll-ok", 3), names="prep train")

        assert (prep.step, prep.phase, prep.started) == ("prep", Phase.RUNNING, "2026-11-21T09:56:36Z")

    def test_a_step_has_succeeded_when_it_is_known_what_it_has_written(self):
        details = recorded("poll-ok")

        (before,) = seen(details, names="prep")
        (after,) = seen(details, names="prep", outputs={"prep": WRITTEN})

        assert (before.phase, after.phase) == (Phase.RUNNING, Phase.SUCCEEDED)
        assert (after.artifacts, after.results) == (WRITTEN.artifacts, WRITTEN.results)
        assert (after.started, after.ended) == ("2026-11-21T09:56:36Z", "2026-11-21T09:56:46Z")

    def test_a_step_that_failed_without_a_pod_to_tell_why(self):
        boom, independent = seen(
            recorded("poll-fail"), names="boom independent after", outputs={"independent": WRITTEN}
        )

        assert (boom.phase, boom.reason, boom.fault, boom.is_last) == (Phase.FAILED, "StepFailed", Fault.STEP, True)
        assert independent.phase is Phase.SUCCEEDED


class TestPods:
    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            ({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}, "ImagePullBackOff"),
            ({"waiting": {"reason": "PodInitializing"}}, None),
        ],
    )
    def test_tell_what_a_step_waits_for(self, state: JsonObject, reason: str | None):
        (train,) = seen(told(train="RUNNING"), pod(phase="Pending", **state))

        assert (train.phase, train.reason, train.pod_name) == (Phase.WAITING, reason, "wine-impl-1")

    def test_tell_when_it_has_begun(self):
        (train,) = seen(told(train="RUNNING"), pod(running={"startedAt": LATER}))

        assert (train.phase, train.started) == (Phase.RUNNING, LATER)

    def test_tell_the_exit_code_of_the_step_s_own_command(self):
        log = "Traceback\nfailed to execute component: exit status 3\n"
        failed = pod(phase="Failed", terminated=ended(1))

        (train,) = seen(told(train="FAILED"), failed, logs={"1": log})

        assert (train.phase, train.reason, train.exit_code, train.is_last) == (Phase.FAILED, "ExitCode", 3, True)
        assert train.message == "Step train ended with exit code 3."

    def test_tell_what_the_step_has_not_written(self):
        log = "cairn: nothing was written to /out/model\nfailed to execute component: exit status 68\n"

        (train,) = seen(told(train="FAILED"), pod(phase="Failed", terminated=ended(1)), logs={"1": log})

        assert train.reason == "OutputMissing"
        assert "/out/model" in str(train.message)

    def test_tell_that_a_step_used_too_much_memory(self):
        killed = pod(phase="Failed", terminated=ended(137, reason="OOMKilled"))

        (train,) = seen(told(train="FAILED"), killed, logs={"1": ""})

        assert (train.reason, train.exit_code) == ("OOMKilled", 137)

    def test_a_container_that_has_ended_well_is_not_the_end_of_the_step(self):
        (train,) = seen(told(train="RUNNING"), pod(terminated=ended(0)))

        assert (train.phase, train.started) == (Phase.RUNNING, NOW)

    def test_a_step_whose_command_succeeded_and_that_failed_all_the_same_has_written_something_wrong(self):
        sight = Sight(told(train="FAILED"), [pod(phase="Succeeded", terminated=ended(0))], parse(NOW))

        (attempt,) = attempts_of(sight, {"train": step("train")})

        assert (attempt.phase, attempt.reason) == (Phase.FAILED, "StepFailed")
        assert str(attempt.message).startswith("Its command has succeeded")

    def test_a_pod_that_does_not_tell_why_says_nothing_of_the_command(self):
        running = pod(running={"startedAt": NOW})

        (attempt,) = attempts_of(Sight(told(train="FAILED"), [running], parse(NOW)), {"train": step("train")})

        assert "does not tell why" in str(attempt.message)

    def test_each_is_an_attempt(self):
        first = pod(0, uid="1", phase="Failed", terminated=ended(1))
        second = pod(1, uid="2", running={"startedAt": LATER})

        one, two = seen(told(train="RUNNING"), second, first, logs={"1": "exit status 1"})

        assert [(one.number, one.phase), (two.number, two.phase)] == [(1, Phase.FAILED), (2, Phase.RUNNING)]
        assert not one.is_last

    def test_of_other_tasks_are_none_of_a_step(self):
        driver = pod()
        driver["metadata"]["annotations"][NODE_NAME_ANNOTATION] = "wine-x2.root.train-driver"

        assert seen(told(), driver) == []


def test_a_step_that_could_not_be_driven_has_failed():
    (train,) = seen(told(train_driver="FAILED"))

    assert (train.phase, train.reason, train.is_last) == (Phase.FAILED, "DriverFailed", True)


def test_a_step_whose_outputs_are_not_what_it_declares_has_failed():
    (train,) = seen(told(train="SUCCEEDED"), outputs={"train": OutputsInvalidError("ResultsInvalid", "No JSON.")})

    assert (train.phase, train.reason, train.is_last) == (Phase.FAILED, "ResultsInvalid", True)


def test_a_step_whose_outputs_cannot_be_read_yet_waits_for_them():
    away = StoreUnavailableError("EndpointUnreachable", "The bucket does not answer.")

    (train,) = seen(told(train="SUCCEEDED"), outputs={"train": away})

    assert (train.phase, train.reason) == (Phase.RUNNING, "EndpointUnreachable")


class TestEndedFromOutside:
    def test_a_driver_that_is_killed_with_its_run_is_no_failure_of_its_own(self):
        details = replace(told(train_driver="FAILED"), was_terminated=True)

        (attempt,) = seen(details)

        assert (attempt.phase, attempt.fault, attempt.reason) == (Phase.FAILED, Fault.STOPPED, "Terminated")

    def test_what_is_killed_with_its_run_has_not_failed_by_itself(self):
        details = replace(told(train="RUNNING"), was_terminated=True)

        (attempt,) = seen(details, pod(phase="Failed", terminated=ended(143)), logs={"1": "killed"})

        assert (attempt.fault, attempt.reason, attempt.is_last) == (Fault.STOPPED, "Terminated", True)

    def test_an_eviction_is_a_failure_as_kubeflow_pipelines_makes_no_difference(self):
        evicted = pod(phase="Failed")
        evicted["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}

        (attempt,) = seen(told(train="RUNNING"), evicted)

        assert (attempt.phase, attempt.fault, attempt.reason) == (Phase.FAILED, Fault.STEP, "Evicted")

    def test_a_deadline_of_its_own_is_a_failure(self):
        late = pod(phase="Failed")
        late["spec"]["activeDeadlineSeconds"] = 1
        late["status"] |= {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than that."}

        (attempt,) = seen(told(train="RUNNING"), late)

        assert (attempt.fault, attempt.reason) == (Fault.STEP, "DeadlineExceeded")


class TestContainersBeside:
    def test_a_step_may_be_called_as_a_container_of_argo_s(self):
        body = pod(phase="Failed", terminated=ended(3))
        body["metadata"]["annotations"][NODE_NAME_ANNOTATION] = "wine-x2.root.wait.executor"
        body["status"]["containerStatuses"].append({"name": "wait", "state": {"terminated": ended(0)}})

        (attempt,) = seen(told(wait="RUNNING"), body, names="wait", logs={"1": "exit status 3"})

        assert (attempt.phase, attempt.exit_code) == (Phase.FAILED, 3)


def test_a_step_that_nothing_is_seen_of_cannot_be_late():
    (attempt,) = seen(told(train="PENDING"))

    assert (attempt.phase, attempt.awaits_turn) == (Phase.WAITING, True)


def test_results_that_were_not_written_are_told_as_elsewhere():
    scored = step("train", outputs=outputs(results=["rmse"]))
    log = f"{NOT_WRITTEN} {RESULTS_FILE}"
    body = pod(phase="Failed", terminated=ended(68))

    (attempt,) = attempts_of(Sight(told(train="RUNNING"), [body], parse(LATER), logs={"1": log}), {"train": scored})

    assert attempt.reason == "ResultsInvalid"
