"""Pipelines: runs that name one, and runs that a change of one starts."""

from __future__ import annotations

from cluster import Cluster, condition, results, states, step
from manifests import HOLD, Body, pipeline, python, run_of
from polling import poll

ON_CHANGE = {"runPolicy": "OnChange"}
WRITE_ALPHA = """
import json, os
json.dump({"alpha": os.environ["CAIRN_PARAM_ALPHA"]}, open(os.environ["CAIRN_RESULTS"], "w"))
"""
ALPHA = {"parameters": [{"name": "alpha", "type": "Number", "default": "0.5"}]}


def train(code: str = "pass", **fields: object) -> list[Body]:
    return [python("train", code, **fields)]


def runs_of(namespace: Cluster, name: str) -> list[str]:
    """Return the runs of a pipeline, oldest first."""
    return [item["metadata"]["name"] for item in namespace.list("PipelineRun", f"cairn.dev/pipeline={name}")]


def last_run(namespace: Cluster, name: str, generation: int) -> str:
    """Wait until a Pipeline has started a run of that generation, and return the run's name."""
    seen = namespace.wait(
        "Pipeline",
        name,
        lambda body: (body.get("status") or {}).get("lastRun", {}).get("name", "").startswith(f"{name}-{generation}-"),
        60,
        "a run was started",
    )
    return str(seen["status"]["lastRun"]["name"])


def test_a_run_of_a_pipeline_has_its_steps_and_the_parameters_that_it_gives(namespace: Cluster):
    namespace.apply(pipeline("wine", train(WRITE_ALPHA, outputs={"results": ["alpha"]}), **ALPHA))
    namespace.create(run_of("wine", "given", parameters=[{"name": "alpha", "value": "1e-2"}]))
    namespace.create(run_of("wine", "default"))

    assert results(namespace.finished("given"), "train") == {"alpha": "1e-2"}
    assert results(namespace.finished("default"), "train") == {"alpha": "0.5"}


def test_kubectl_shows_the_pipeline_of_a_run_wherever_its_steps_are_written(namespace: Cluster):
    namespace.create(run_of("wine", "by-name"))

    assert "wine" in namespace.kubectl("get", "pipelinerun", "by-name")


def test_a_run_waits_for_its_pipeline_and_is_not_changed_by_it_later(namespace: Cluster):
    namespace.create(run_of("wine", "early"))
    namespace.wait_condition(
        "PipelineRun", "early", "Succeeded", status="Unknown", reason="PipelineNotReady", timeout=30
    )

    namespace.apply(pipeline("wine", train(HOLD)))
    namespace.wait("PipelineRun", "early", lambda body: states(body) == {"train": "Running"}, 120)
    namespace.apply(pipeline("wine", [python("another", "raise SystemExit(1)")]))
    namespace.delete("Pipeline", "wine")
    namespace.wait_gone("Pipeline", "wine", 30)
    namespace.release("early", "train")

    finished = namespace.finished("early")
    assert (condition(finished, "Succeeded")["reason"], states(finished)) == ("Completed", {"train": "Succeeded"})


def test_what_a_run_has_kept_of_its_pipeline_goes_with_it(namespace: Cluster):
    namespace.apply(pipeline("wine", train()))
    namespace.create(run_of("wine", "once"))
    namespace.finished("once")
    (kept,) = namespace.list("ControllerRevision")
    assert kept["metadata"]["name"].startswith("once-")

    namespace.delete("PipelineRun", "once")

    poll(lambda: namespace.list("ControllerRevision"), lambda left: not left, 60, "the revision was not gone")


def test_a_run_takes_over_what_an_earlier_one_of_the_pipeline_has_done(namespace: Cluster):
    fails_at_first = "import os; raise SystemExit(os.environ['CAIRN_RUN'] == 'first')"
    steps = [python("load", "pass"), python("train", fails_at_first, dependsOn=["load"])]
    namespace.apply(pipeline("wine", steps))
    namespace.create(run_of("wine", "first"))
    assert states(namespace.finished("first")) == {"load": "Succeeded", "train": "Failed"}
    namespace.delete("Pipeline", "wine")
    namespace.wait_gone("Pipeline", "wine", 30)
    namespace.apply(pipeline("wine", steps))

    namespace.create(run_of("wine", "second", rerunOf={"name": "first"}))

    finished = namespace.finished("second")
    assert states(finished) == {"load": "Succeeded", "train": "Succeeded"}
    assert step(finished, "load")["reason"] == "TakenOver"


def test_a_value_of_another_type_is_refused_with_the_reason(namespace: Cluster):
    namespace.apply(pipeline("wine", train(), **ALPHA))
    namespace.create(run_of("wine", "wrong", parameters=[{"name": "alpha", "value": "half"}]))

    found = condition(namespace.finished("wrong"), "Succeeded")

    assert (found["status"], found["reason"]) == ("False", "InvalidSpec")
    assert found["message"] == 'spec.parameters[alpha]: must be a value of type Number, such as "0.5"'


def test_every_change_of_a_pipeline_starts_one_run(namespace: Cluster):
    namespace.apply(pipeline("wine", train(), **ON_CHANGE))
    first = last_run(namespace, "wine", 1)
    namespace.wait_condition("Pipeline", "wine", "LastRunSucceeded", status="True", timeout=180)

    namespace.apply(pipeline("wine", train(), **ON_CHANGE, description="Nothing that a run does has changed."))
    namespace.apply(pipeline("wine", train("print('changed')"), **ON_CHANGE))
    second = last_run(namespace, "wine", 3)
    namespace.wait_condition("Pipeline", "wine", "LastRunSucceeded", status="True", timeout=180)

    assert runs_of(namespace, "wine") == [first, second]


def test_a_run_that_was_deleted_is_not_started_again(namespace: Cluster):
    namespace.apply(pipeline("wine", train(), **ON_CHANGE, ttlSecondsAfterFinished=0))
    first = last_run(namespace, "wine", 1)
    namespace.wait_gone("PipelineRun", first, 180)
    namespace.wait_condition("Pipeline", "wine", "LastRunSucceeded", status="True", timeout=30)

    namespace.patch("Pipeline", "wine", {"metadata": {"labels": {"touched": "yes"}}})
    namespace.apply(pipeline("wine", train(), **ON_CHANGE, description="Seen."))
    namespace.wait(
        "Pipeline", "wine", lambda body: body["status"]["observedGeneration"] == body["metadata"]["generation"] > 1, 30
    )

    assert runs_of(namespace, "wine") == []


def test_a_pipeline_says_that_its_last_run_failed_and_stays_ready(namespace: Cluster):
    namespace.apply(pipeline("wine", train("raise SystemExit(3)"), **ON_CHANGE))

    namespace.wait_condition("Pipeline", "wine", "LastRunSucceeded", status="False", reason="StepFailed", timeout=180)
    namespace.wait_condition("Pipeline", "wine", "Ready", status="True", timeout=10)


def test_the_runs_that_a_pipeline_has_started_go_with_it(namespace: Cluster):
    namespace.apply(pipeline("wine", train(HOLD), **ON_CHANGE))
    started = last_run(namespace, "wine", 1)

    namespace.delete("Pipeline", "wine")

    namespace.wait_gone("PipelineRun", started, 60)


def test_a_pipeline_that_cannot_be_run_says_what_to_mend(namespace: Cluster):
    namespace.apply(pipeline("wine", train(dependsOn=["load"]), **ON_CHANGE))

    namespace.wait_condition("Pipeline", "wine", "Ready", status="False", reason="InvalidSpec", timeout=30)
    found = condition(namespace.get("Pipeline", "wine") or {}, "Ready")
    assert found["message"].startswith("spec.template.spec.steps[train].dependsOn: there is no step load")
    assert runs_of(namespace, "wine") == []
