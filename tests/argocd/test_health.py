"""What Argo CD says of Cairn's objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.argocd.lua import Body, Engine

KINDS = ("StackComponent", "Stack", "Pipeline", "PipelineSchedule", "PipelineRun")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def an_object(kind: str, *conditions: Body, observed: int = 2) -> Body:
    return {
        "apiVersion": "cairn.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "it", "namespace": "ml", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": list(conditions)},
    }


def condition(type_: str, status: str, reason: str = "Reason", message: str = "This is why.") -> Body:
    return {"type": type_, "status": status, "reason": reason, "message": message}


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_the_operator_has_not_seen_is_progressing(engine: Engine, kind: str):
    body: dict[str, Any] = an_object(kind)
    del body["status"]

    assert engine.health(body) == ("Progressing", "The operator has not seen it yet.")


@pytest.mark.parametrize(
    ("kind", "ended"),
    [(kind, condition("Ready", "True")) for kind in KINDS[:-1]] + [("PipelineRun", condition("Succeeded", "False"))],
)
def test_what_is_said_of_an_earlier_spec_does_not_count(engine: Engine, kind: str, ended: Body):
    assert engine.health(an_object(kind, ended, observed=1))[0] == "Progressing"


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_without_conditions_is_progressing(engine: Engine, kind: str):
    assert engine.health(an_object(kind))[0] == "Progressing"


@pytest.mark.parametrize("kind", ["StackComponent", "Stack", "Pipeline", "PipelineSchedule"])
def test_what_is_ready_is_healthy(engine: Engine, kind: str):
    assert engine.health(an_object(kind, condition("Ready", "True"))) == ("Healthy", "This is why.")


@pytest.mark.parametrize("kind", ["StackComponent", "Stack", "Pipeline", "PipelineSchedule"])
def test_what_is_not_ready_is_degraded_with_its_own_message(engine: Engine, kind: str):
    assert engine.health(an_object(kind, condition("Ready", "False"))) == ("Degraded", "This is why.")


@pytest.mark.parametrize("kind", ["StackComponent", "Stack"])
def test_what_may_yet_get_ready_is_progressing(engine: Engine, kind: str):
    installing = condition("Ready", "Unknown", "HelmInstalling", "Helm installs it.")

    assert engine.health(an_object(kind, installing)) == ("Progressing", "Helm installs it.")


def test_a_stack_whose_components_are_checked_for_the_first_time_is_progressing(engine: Engine):
    assert engine.health(an_object("Stack", condition("Ready", "False", "ComponentsNotChecked")))[0] == "Progressing"


@pytest.mark.parametrize(
    ("succeeded", "health"),
    [
        (condition("Succeeded", "Unknown", "Running", "1 of 3 steps."), ("Progressing", "1 of 3 steps.")),
        (condition("Succeeded", "Unknown", "StackNotReady", "No bucket."), ("Progressing", "No bucket.")),
        (condition("Succeeded", "Unknown", "Suspended", "Waits."), ("Suspended", "Waits.")),
        (condition("Succeeded", "True", "Completed", "All done."), ("Healthy", "All done.")),
        (condition("Succeeded", "False", "StepFailed", "Step a."), ("Degraded", "StepFailed: Step a.")),
        (condition("Succeeded", "False", "Cancelled", "By hand."), ("Degraded", "Cancelled: By hand.")),
    ],
    ids=lambda value: value["reason"] if isinstance(value, dict) else value[0],
)
def test_a_run_is_as_its_condition_succeeded_says(engine: Engine, succeeded: Body, health: tuple[str, str]):
    assert engine.health(an_object("PipelineRun", succeeded)) == health


@pytest.mark.parametrize(
    ("run", "health"),
    [
        (condition("LastRunSucceeded", "Unknown", "Running", "1 of 3."), ("Progressing", "1 of 3.")),
        (condition("LastRunSucceeded", "Unknown", "Suspended", "Waits."), ("Suspended", "Waits.")),
        (condition("LastRunSucceeded", "True", "Completed", "Done."), ("Healthy", "Done.")),
        (condition("LastRunSucceeded", "False", "StepFailed", "Step a."), ("Degraded", "Step a.")),
        (condition("LastRunSucceeded", "Unknown", "RunDeleted", "Gone."), ("Healthy", "Gone.")),
    ],
    ids=lambda value: value["reason"] if isinstance(value, dict) else value[0],
)
def test_a_pipeline_is_as_the_run_of_its_last_change(engine: Engine, run: Body, health: tuple[str, str]):
    assert engine.health(an_object("Pipeline", condition("Ready", "True"), run)) == health


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ([condition("LastRunSucceeded", "Unknown", "Running", "1 of 3.")], ("Healthy", "1 of 3.")),
        ([condition("LastRunSucceeded", "False", "StepFailed", "Step a.")], ("Degraded", "Step a.")),
        ([condition("Suspended", "False", "Active", "")], ("Healthy", "This is why.")),
        ([condition("Suspended", "True", "Suspended", "Waits.")], ("Suspended", "Waits.")),
    ],
    ids=["running", "failed", "active", "suspended"],
)
def test_a_schedule_is_as_its_last_run_unless_it_is_suspended(
    engine: Engine, conditions: list[Body], health: tuple[str, str]
):
    assert engine.health(an_object("PipelineSchedule", condition("Ready", "True"), *conditions)) == health


def test_an_application_is_as_its_own_objects(engine: Engine):
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "cairn-platform", "namespace": "argocd"},
        "status": {"health": {"status": "Degraded", "message": "no"}},
    }

    assert engine.health(body) == ("Degraded", "no")
