from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.time import parse
from cairn.clients.store import key_of
from cairn.clients.tracing import Trace
from cairn.runs.traces import RunTraces, trace_of
from tests.unit.builders import EARLIER, LATER, NOW, after, run_body
from tests.unit.clock import ManualClock

UID = "2f1c9a54-6d0e-4a63-9d7b-0d3b8a1f5c11"
FIRST = {
    "number": 1,
    "reason": "ExitCode",
    "message": "It ended with exit code 3.",
    "exitCode": 3,
    "charged": True,
    "startTime": EARLIER,
    "completionTime": NOW,
    "jobName": "wine-1-train-1",
    "podName": "wine-1-train-1-x",
}
TRAIN = {
    "name": "train",
    "state": "Succeeded",
    "attempts": 2,
    "startTime": NOW,
    "completionTime": LATER,
    "jobName": "wine-1-train-2",
    "podName": "wine-1-train-2-y",
    "previousAttempts": [FIRST],
}


def run(
    *steps: JsonObject, reason: str = "Completed", message: str = "", **status: Any
) -> tuple[JsonObject, PipelineRunStatus]:
    """Return a run that has ended, and its status."""
    condition = {
        "type": "Succeeded",
        "status": "True" if reason == "Completed" else "False",
        "reason": reason,
        "message": message or f"{reason}.",
        "lastTransitionTime": LATER,
        "observedGeneration": 1,
    }
    fields = {"conditions": [condition], "startTime": EARLIER, "completionTime": LATER, "steps": steps, **status}
    return run_body(uid=UID), PipelineRunStatus.model_validate(fields)


def test_a_trace_is_found_by_the_uid_of_its_run():
    assert f"{trace_of(*run()).trace_id:032x}" == UID.replace("-", "")


def test_a_run_is_a_span_from_its_start_to_its_end():
    tracking = {"experimentID": "1", "runID": "abc", "url": "https://mlflow.example.com/#/experiments/1/runs/abc"}

    root = trace_of(*run(tracking=tracking, stepsSummary="1/1")).root

    assert (root.name, root.start, root.end, root.error) == ("RUN wine", parse(EARLIER), parse(LATER), None)
    assert root.attributes == {
        "cicd.pipeline.name": "wine",
        "cicd.pipeline.action.name": "RUN",
        "cicd.pipeline.run.id": UID,
        "cicd.pipeline.run.url.full": tracking["url"],
        "cicd.pipeline.result": "success",
        "k8s.namespace.name": "ml",
        "cairn.run": "wine-1",
        "cairn.reason": "Completed",
        "cairn.steps": "1/1",
    }


@pytest.mark.parametrize(
    ("reason", "result"),
    [("StepFailed", "failure"), ("TimedOut", "timeout"), ("Cancelled", "cancellation"), ("InvalidSpec", "error")],
)
def test_a_run_that_did_not_complete_says_why(reason: str, result: str):
    root = trace_of(*run(reason=reason)).root

    assert (root.attributes["cicd.pipeline.result"], root.attributes["error.type"]) == (result, reason)
    assert root.error == f"{reason}."


def test_each_attempt_of_a_step_is_a_span():
    first, second = trace_of(*run(TRAIN)).parts

    assert (first.name, first.start, first.end) == ("train", parse(EARLIER), parse(NOW))
    assert first.error == "It ended with exit code 3."
    assert first.attributes == {
        "cicd.pipeline.task.name": "train",
        "cicd.pipeline.task.run.id": f"{UID}/train/1",
        "cicd.pipeline.task.run.result": "failure",
        "error.type": "ExitCode",
        "k8s.namespace.name": "ml",
        "k8s.job.name": "wine-1-train-1",
        "k8s.pod.name": "wine-1-train-1-x",
        "process.exit.code": 3,
        "cairn.attempt": 1,
        "cairn.state": "Failed",
        "cairn.reason": "ExitCode",
    }
    assert (second.start, second.end, second.error) == (parse(NOW), parse(LATER), None)
    assert (second.attributes["cairn.attempt"], second.attributes["cairn.state"]) == (2, "Succeeded")


@pytest.mark.parametrize(
    "step",
    [
        {"name": "train", "state": "Skipped", "reason": "WhenFalse"},
        {"name": "train", "state": "Cached", "reason": "Cached"},
        {"name": "train", "state": "Succeeded", "reason": "TakenOver", "attempts": 1},
    ],
    ids=lambda step: step["reason"],
)
def test_a_step_that_did_not_run_is_no_span(step: JsonObject):
    assert not trace_of(*run(step)).parts


def test_an_attempt_that_never_started_has_no_length():
    (span,) = trace_of(*run({"name": "train", "state": "Cancelled", "attempts": 1, "reason": "Cancelled"})).parts

    assert (span.start, span.end) == (parse(LATER), parse(LATER))
    assert span.attributes["cicd.pipeline.task.run.result"] == "cancellation"


def test_where_kubeflow_pipelines_has_its_pods_is_not_claimed():
    (span,) = trace_of(*run({**TRAIN, "previousAttempts": None}, orchestratorRun={"id": "1"})).parts

    assert "k8s.namespace.name" not in span.attributes


def test_every_span_has_an_id_of_its_own_that_stays():
    def ids(trace: Trace) -> list[int]:
        return [trace.root.span_id, *(span.span_id for span in trace.parts)]

    once, again = ids(trace_of(*run(TRAIN))), ids(trace_of(*run(TRAIN)))

    assert once == again
    assert len(set(once)) == 3
    assert all(0 < one < 1 << 64 for one in once)


# ---- when


def traces(sent: list[Trace], clock: ManualClock | None = None) -> RunTraces:
    return RunTraces(sent.append, clock or ManualClock())


def test_a_run_is_traced_once():
    sent: list[Trace] = []
    tracing = traces(sent)

    for _ in range(2):
        tracing.ended(*run())

    assert len(sent) == 1


def test_another_run_of_the_same_name_is_traced():
    sent: list[Trace] = []
    tracing, (body, status) = traces(sent), run()
    tracing.ended(body, status)

    tracing.forget(key_of(body))
    tracing.ended({**body, "metadata": {**body["metadata"], "uid": UID.replace("2", "3")}}, status)

    assert len(sent) == 2


def test_an_operator_that_begins_traces_what_ended_shortly_before_and_nothing_older():
    sent: list[Trace] = []
    clock = ManualClock()
    clock.set(after(8 * 60))
    tracing, (body, status) = traces(sent, clock), run()

    tracing.ended(body, status)
    old = status.model_copy(update={"completion_time": "2025-12-31T00:00:00Z"})
    tracing.ended(run_body(name="old", uid=UID), old)

    assert [trace.root.end for trace in sent] == [parse(LATER)]


def test_a_run_that_cannot_be_traced_fails_nothing(caplog: pytest.LogCaptureFixture):
    def refuse(_: Trace) -> None:
        raise ValueError("no")

    RunTraces(refuse, ManualClock()).ended(*run())

    assert "The run cannot be traced" in caplog.text


def test_without_a_collector_nothing_is_traced():
    RunTraces(None, ManualClock()).ended(run_body(uid="no uid"), run()[1])


def test_what_went_wrong_is_cut():
    long = {**TRAIN, "state": "Failed", "message": "x" * 1024, "previousAttempts": None}
    trace = trace_of(*run(long, reason="StepFailed", message="x" * 4096))

    assert [len(span.error or "") for span in (trace.root, *trace.parts)] == [256, 256]
