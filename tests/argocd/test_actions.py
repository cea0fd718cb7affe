"""What can be done with Cairn's objects from Argo CD's pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.argocd.lua import Body, Engine

FINISHED = {"conditions": [{"type": "Finished", "status": "True"}]}
FAILED = {"conditions": [*FINISHED["conditions"], {"type": "Succeeded", "status": "False"}]}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def an_object(kind: str, spec: Body, **fields: Any) -> Body:
    return {
        "apiVersion": "cairn.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": "wine",
            "namespace": "ml",
            "uid": "u",
            "annotations": {"argocd.argoproj.io/tracking-id": "ml:cairn.dev/PipelineRun:ml/wine"},
        },
        "spec": spec,
        **fields,
    }


def test_a_run_that_goes_on_can_be_cancelled_and_suspended(engine: Engine):
    assert engine.actions(an_object("PipelineRun", {"pipeline": "wine"})) == {
        "cancel": True,
        "suspend": True,
        "resume": False,
        "rerun": False,
        "rerun-from-failed": False,
    }


def test_a_suspended_run_can_be_resumed(engine: Engine):
    actions = engine.actions(an_object("PipelineRun", {"pipeline": "wine", "suspend": True}))

    assert (actions["suspend"], actions["resume"]) == (False, True)


def test_a_run_that_has_ended_can_only_be_run_again(engine: Engine):
    actions = engine.actions(an_object("PipelineRun", {"pipeline": "wine"}, status=FINISHED))

    assert [name for name, enabled in actions.items() if enabled] == ["rerun"]


def test_of_a_run_that_has_failed_what_failed_can_be_run_again(engine: Engine):
    actions = engine.actions(an_object("PipelineRun", {"pipeline": "wine"}, status=FAILED))

    assert {name for name, enabled in actions.items() if enabled} == {"rerun", "rerun-from-failed"}


def test_a_run_that_is_being_cancelled_cannot_be_cancelled(engine: Engine):
    assert not engine.actions(an_object("PipelineRun", {"pipeline": "wine", "cancel": "Graceful"}))["cancel"]


@pytest.mark.parametrize(
    ("action", "change"),
    [("cancel", ">cancel:Graceful"), ("suspend", ">suspend:true")],
)
def test_an_action_changes_one_field(engine: Engine, action: str, change: str):
    assert engine.changes(an_object("PipelineRun", {"pipeline": "wine"}), action) == [change]


def test_resume_takes_suspend_back(engine: Engine):
    body = an_object("PipelineRun", {"pipeline": "wine", "suspend": True})

    assert engine.changes(body, "resume") == ["<suspend:true", ">suspend:false"]


def test_rerun_creates_a_run_of_the_same_spec_that_argo_cd_does_not_track(engine: Engine):
    spec = {"pipelineRef": {"name": "wine"}, "cancel": "Graceful", "suspend": True, "stackRef": {"name": "production"}}

    created = engine.created(an_object("PipelineRun", spec, status=FINISHED), "rerun")

    assert created["spec"] == {"pipelineRef": {"name": "wine"}, "stackRef": {"name": "production"}}
    assert created["metadata"].keys() == {"name", "namespace"}
    assert created["metadata"]["name"].startswith("wine-2")


@pytest.mark.parametrize("action", ["rerun", "rerun-from-failed"])
@pytest.mark.parametrize("of", [{"pipeline": "wine"}, {"pipelineRef": {"name": "wine"}}], ids=["steps", "pipelineRef"])
def test_a_run_that_is_run_again_is_named_after_its_pipeline_and_the_time(engine: Engine, of: Body, action: str):
    body = an_object("PipelineRun", of, status=FAILED)
    body["metadata"]["name"] = "wine-20261123010203"

    created = engine.created(body, action)

    assert re.fullmatch(r"wine-\d{14}", created["metadata"]["name"])


def test_rerun_from_failed_takes_over_what_succeeded(engine: Engine):
    created = engine.created(an_object("PipelineRun", {"pipeline": "wine"}, status=FINISHED), "rerun-from-failed")

    assert created["spec"] == {"pipeline": "wine", "rerunOf": {"name": "wine", "from": "Failed"}}


def test_a_pipeline_can_be_run(engine: Engine):
    created = engine.created(an_object("Pipeline", {"template": {}}), "run")

    assert (created["kind"], created["spec"]) == ("PipelineRun", {"pipelineRef": {"name": "wine"}})


def test_a_pipeline_whose_parameters_have_no_defaults_cannot_be_run_by_a_button(engine: Engine):
    parameters = [{"name": "alpha", "default": "0.5"}, {"name": "day"}]

    assert engine.actions(an_object("Pipeline", {"parameters": parameters})) == {"run": False}
    assert engine.actions(an_object("Pipeline", {"parameters": parameters[:1]})) == {"run": True}


@pytest.mark.parametrize(("suspended", "action"), [(True, "resume"), (False, "suspend")])
def test_a_schedule_can_be_suspended_and_resumed(engine: Engine, suspended: bool, action: str):
    body = an_object("PipelineSchedule", {"schedule": "0 * * * *", "suspend": suspended})

    assert [name for name, enabled in engine.actions(body).items() if enabled] == [action]
    assert f">suspend:{str(not suspended).lower()}" in engine.changes(body, action)
