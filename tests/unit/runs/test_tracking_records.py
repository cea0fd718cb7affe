"""What an experiment tracker is to hold of a run and its attempts."""

from __future__ import annotations

from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.time import parse
from cairn.components.records import Dataset, Record
from cairn.runs.tracking_records import RecordOf, record_of_run, records_of_attempts
from tests.unit.builders import LATER, NOW, RUN, inputs, outputs, run_body, run_spec, run_steps, step, step_status

LATER_MS = round(parse(LATER).timestamp() * 1000)
NOW_MS = round(parse(NOW).timestamp() * 1000)
TRAIN = step("train", outputs=outputs("model", results=["rmse", "kind"]))
MODEL = {"name": "model", "uri": "s3://b/model", "digest": f"sha256:{'a' * 64}", "sizeBytes": 7}
RESULTS = [{"name": "rmse", "value": "0.5"}, {"name": "kind", "value": "forest"}]
SUCCEEDED = step_status(
    "train",
    "Succeeded",
    attempts=1,
    queuedTime=NOW,
    startTime=NOW,
    completionTime=LATER,
    podName="wine-1-train-1-x",
    artifacts=[MODEL],
    results=RESULTS,
)


def status_of(*steps: StepStatus, **fields: Any) -> PipelineRunStatus:
    return PipelineRunStatus.model_validate({"startTime": NOW, "steps": steps, **fields})


def finished(status: str, reason: str, *steps: StepStatus) -> PipelineRunStatus:
    condition: JsonObject = {"type": "Succeeded", "status": status, "reason": reason, "message": "why"}
    condition |= {"lastTransitionTime": LATER, "observedGeneration": 1}
    return status_of(*steps, conditions=[condition], completionTime=LATER, durationSeconds=60)


def of_run(spec: RunSpec, status: PipelineRunStatus | None = None) -> Record:
    return record_of_run(run_body(spec, uid=RUN.uid), spec, status or status_of(), "0.1.0")


def of_attempts(spec: RunSpec, status: PipelineRunStatus) -> dict[RecordOf, Record]:
    steps = run_steps(spec, {one.name: one for one in status.steps})
    return dict(records_of_attempts(of_run(spec), steps, status, steps.by_name))


class TestRun:
    def test_it_has_its_parameters_and_says_where_it_comes_from(self):
        git = {"repository": "https://git/wine", "revision": "abc", "branch": "main"}
        spec = run_spec(parameters=[{"name": "alpha", "value": "0.5"}], source={"git": git})

        record = of_run(spec)

        assert (record.name, record.params, record.started) == ("wine-1", {"alpha": "0.5"}, NOW_MS)
        assert record.tags["cairn.run.uid"] == "uid-of-wine-1"
        assert record.tags["mlflow.source.git.commit"] == "abc"
        assert (record.tags["mlflow.source.name"], record.tags["cairn.version"]) == ("wine", "0.1.0")

    def test_it_and_its_attempts_have_the_user_who_has_created_it(self):
        body = run_body(run_spec(TRAIN), uid=RUN.uid, annotations={"cairn.dev/created-by": "alice"})

        record = record_of_run(body, run_spec(TRAIN), status_of(), "0.1.0")
        status = status_of(SUCCEEDED)
        steps = run_steps(run_spec(TRAIN), {SUCCEEDED.name: SUCCEEDED})
        attempts = records_of_attempts(record, steps, status, steps.by_name)

        assert {one.tags["mlflow.user"] for one in [record, *attempts.values()]} == {"alice"}

    def test_it_has_the_tags_that_are_asked_for(self):
        spec = run_spec(tracking={"tags": [{"name": "team", "value": "red"}]})

        assert of_run(spec).tags["team"] == "red"

    def test_it_names_its_stack(self):
        record = of_run(run_spec(), status_of(stack={"name": "production", "digest": "sha256:1"}))

        assert (record.tags["cairn.stack"], record.tags["cairn.stack.digest"]) == ("production", "sha256:1")

    def test_while_it_goes_on_it_is_running(self):
        assert (of_run(run_spec()).state, of_run(run_spec()).ended) == ("RUNNING", None)

    @pytest.mark.parametrize(
        ("status", "reason", "state"),
        [
            ("True", "Completed", "FINISHED"),
            ("False", "StepFailed", "FAILED"),
            ("False", "TimedOut", "FAILED"),
            ("False", "Cancelled", "KILLED"),
        ],
    )
    def test_it_ends_as_the_run_did(self, status: str, reason: str, state: str):
        record = of_run(run_spec(), finished(status, reason))

        assert (record.state, record.ended) == (state, LATER_MS)
        assert record.closing_tags == {"cairn.reason": reason, "cairn.message": "why"}

    def test_the_numbers_that_steps_wrote_are_its_metrics(self):
        metrics = of_run(run_spec(TRAIN), finished("True", "Completed", SUCCEEDED)).metrics

        assert {metric.name: metric.value for metric in metrics} == {
            "cairn.duration_seconds": 60.0,
            "cairn.retries": 0.0,
            "cairn.disruptions": 0.0,
            "train.rmse": 0.5,
        }


class TestAttempt:
    def test_one_that_was_not_made_has_none(self):
        assert not of_attempts(run_spec(TRAIN), status_of(step_status("train", "Pending")))

    def test_one_under_way_is_running(self):
        queued = step_status("train", "Queued", attempts=1, queuedTime=NOW)

        record = of_attempts(run_spec(TRAIN), status_of(queued))["train", 1]

        assert (record.name, record.state, record.started, record.ended) == ("train", "RUNNING", NOW_MS, None)
        assert (record.tags["cairn.step"], record.tags["cairn.attempt"]) == ("train", "1")
        assert record.tags["mlflow.docker.image.uri"] == "ghcr.io/acme/wine:1"

    def test_one_that_has_succeeded_holds_what_it_wrote(self):
        record = of_attempts(run_spec(TRAIN), status_of(SUCCEEDED))["train", 1]

        assert (record.state, record.ended) == ("FINISHED", LATER_MS)
        assert {metric.name: metric.value for metric in record.metrics}["rmse"] == 0.5
        assert record.closing_tags["cairn.result.kind"] == "forest"
        assert record.closing_tags["cairn.artifact.model"] == f"s3://b/model {MODEL['digest']}"
        assert record.closing_tags["cairn.pod"] == "wine-1-train-1-x"

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1_000", "١٢", " 1", "forest", ""])
    def test_what_is_no_number_is_a_tag(self, value: str):
        wrong = step_status("train", "Succeeded", attempts=1, results=[{"name": "rmse", "value": value}])

        record = of_attempts(run_spec(TRAIN), status_of(wrong))["train", 1]

        assert "rmse" not in {metric.name for metric in record.metrics}
        assert record.closing_tags["cairn.result.rmse"] == value

    def test_each_attempt_has_its_own_and_a_disruption_was_killed(self):
        earlier = [
            {
                "number": 1,
                "reason": "ExitCode",
                "exitCode": 3,
                "charged": True,
                "startTime": NOW,
                "completionTime": NOW,
            },
            {"number": 2, "reason": "Evicted", "charged": False, "startTime": NOW, "completionTime": LATER},
        ]
        running = step_status("train", "Running", attempts=3, startTime=LATER, previousAttempts=earlier)

        records = of_attempts(run_spec(TRAIN), status_of(running))

        assert {attempt: record.state for attempt, record in records.items()} == {
            ("train", 1): "FAILED",
            ("train", 2): "KILLED",
            ("train", 3): "RUNNING",
        }
        assert [record.name for record in records.values()] == ["train", "train (2)", "train (3)"]
        assert records["train", 1].closing_tags == {"cairn.reason": "ExitCode", "cairn.exit_code": "3"}

    @pytest.mark.parametrize(
        ("state", "counted", "ended"),
        [
            ("Failed", {}, "FAILED"),
            ("Cancelled", {}, "KILLED"),
            ("Retrying", {"retriesUsed": 1}, "FAILED"),
            ("Retrying", {"disruptions": 1}, "KILLED"),
        ],
    )
    def test_one_that_did_not_succeed_says_why(self, state: str, counted: dict[str, int], ended: str):
        why = {"reason": "OOMKilled", "message": "too much"}
        failed = step_status("train", state, attempts=1, completionTime=LATER, **why, **counted)

        record = of_attempts(run_spec(TRAIN), status_of(failed))["train", 1]

        assert record.state == ended
        assert record.closing_tags["cairn.reason"] == "OOMKilled"

    def test_a_cached_step_names_where_it_ran(self):
        origin = {"run": "wine-0", "step": "train", "completionTime": NOW}
        cached = step_status("train", "Cached", cachedFrom=origin, results=RESULTS, artifacts=[MODEL])

        record = of_attempts(run_spec(TRAIN), status_of(cached))["train", 0]

        assert (record.state, record.closing_tags["cairn.cached_from"]) == ("FINISHED", "wine-0/train")

    def test_a_step_that_was_skipped_has_none(self):
        assert not of_attempts(run_spec(TRAIN), status_of(step_status("train", "Skipped")))

    def test_what_it_reads_is_a_dataset(self):
        report = step("report", inputs=inputs(model="train.model", raw="s3://b/raw"))
        running = step_status("report", "Running", attempts=1, startTime=NOW)

        record = of_attempts(run_spec(TRAIN, report), status_of(SUCCEEDED, running))["report", 1]

        assert set(record.datasets) == {
            Dataset("model", "s3://b/model", f"sha256:{'a' * 64}"),
            Dataset("raw", "s3://b/raw", ""),
        }

    def test_each_instance_of_a_step_has_its_own_with_its_item(self):
        each = step("train", forEach={"items": ["eu", "us"]})
        states = [step_status(f"train-{index}", "Running", attempts=1) for index in range(2)]

        records = of_attempts(run_spec(each), status_of(*states))

        assert {name: record.tags["cairn.item"] for (name, _), record in records.items()} == {
            "train-0": "eu",
            "train-1": "us",
        }
