"""Runs in Git: how Argo CD says they are, what its actions do, and that they are run once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cluster import Cluster, condition, states
from manifests import HOLD, python, run
from polling import poll
from tests.argocd.conftest import Platform

APPLICATION = "runs"
PATH = "runs"

Body = dict[str, Any]

GIT: dict[str, Body] = {
    "done": run("done", [python("only", "pass")]),
    "fails": run("fails", [python("only", "raise SystemExit('no rows left')")]),
    "held": run("held", [python("only", HOLD), python("after", "pass", dependsOn=["only"])]),
    "stopped": run("stopped", [python("only", HOLD)]),
    "waits": run("waits", [python("only", "pass")], suspend=True),
    "expires": run("expires", [python("only", "pass")], ttlSecondsAfterFinished=5),
}
"""The runs in Git, by their names."""


@pytest.fixture(scope="module")
def runs(platform: Platform) -> Platform:
    for name, body in GIT.items():
        platform.repository.write(f"{PATH}/{name}.yaml", yaml.safe_dump(body))
    platform.repository.push("Runs")
    platform.add(APPLICATION, PATH)
    return platform


def health(platform: Platform, name: str, expected: str, timeout: float = 180) -> str:
    return platform.argo.wait_resource(APPLICATION, "PipelineRun", name, expected, timeout)


def test_a_running_run_is_progressing(runs: Platform):
    runs.team.wait("PipelineRun", "held", lambda body: states(body).get("only") == "Running", 180)

    assert health(runs, "held", "Progressing") == "Steps under way: only."


def test_a_run_that_has_succeeded_is_healthy(runs: Platform):
    assert health(runs, "done", "Healthy")


def test_a_failed_run_is_degraded_with_its_reason(runs: Platform):
    assert health(runs, "fails", "Degraded").startswith("StepFailed: ")


def test_a_suspended_run_is_suspended_until_it_is_resumed(runs: Platform):
    health(runs, "waits", "Suspended")

    runs.argo.act(APPLICATION, "PipelineRun", "waits", "resume")

    health(runs, "waits", "Healthy")


def test_a_run_can_be_cancelled(runs: Platform):
    runs.team.wait("PipelineRun", "stopped", lambda body: states(body).get("only") == "Running", 180)

    runs.argo.act(APPLICATION, "PipelineRun", "stopped", "cancel")

    assert health(runs, "stopped", "Degraded").startswith("Cancelled: ")


def test_a_run_can_be_suspended_and_what_was_done_is_not_taken_back(runs: Platform):
    runs.argo.act(APPLICATION, "PipelineRun", "held", "suspend")
    runs.team.release("held", "only")

    health(runs, "held", "Suspended")
    runs.argo.refresh(APPLICATION)
    found = runs.team.get("PipelineRun", "held")
    assert found is not None
    assert found["spec"]["suspend"] is True


def test_a_run_that_is_run_again_by_an_action_is_not_in_the_way_of_a_sync(runs: Platform):
    health(runs, "done", "Healthy")

    runs.argo.act(APPLICATION, "PipelineRun", "done", "rerun")

    again = poll(lambda: runs.runs.names(f"{GIT['done']['spec']['pipeline']}-"), bool, 30, "no run was made")[0]
    assert condition(runs.team.finished(again), "Succeeded")["reason"] == "Completed"
    runs.argo.refresh(APPLICATION)
    resources = runs.argo.application(APPLICATION)["status"]["resources"]
    assert again not in {item["name"] for item in resources}
    assert runs.team.get("PipelineRun", again) is not None


def test_a_pipeline_can_be_run_by_an_action(runs: Platform):
    before = runs.runs.names("train-")

    runs.argo.act("cairn-pipelines", "Pipeline", "train", "run")

    made = poll(lambda: [name for name in runs.runs.names("train-") if name not in before], bool, 30, "no run was made")
    assert condition(runs.team.finished(made[0]), "Succeeded")["reason"] == "Completed"


def test_a_run_whose_time_to_live_is_over_stays_as_it_is_in_git_and_is_run_once(runs: Platform):
    ended = runs.team.finished("expires")

    later = after_as_much_time(runs.team, ended)

    assert later["metadata"]["uid"] == ended["metadata"]["uid"]
    assert runs.runs.names("expires") == ["expires"]


def after_as_much_time(team: Cluster, ended: Body) -> Body:
    """Wait until a run of the same length, which is not in Git, has gone after the same time to live; return the first one."""
    team.create(run("gone", [python("only", "pass")], ttlSecondsAfterFinished=5))
    team.finished("gone")
    team.wait_gone("PipelineRun", "gone", 60)
    found = team.get("PipelineRun", ended["metadata"]["name"])
    assert found is not None
    return found


def test_a_run_that_goes_from_git_goes(runs: Platform):
    health(runs, "fails", "Degraded")
    runs.repository.remove(f"{PATH}/fails.yaml")

    runs.commit("No run", APPLICATION)

    runs.team.wait_gone("PipelineRun", "fails", 60)
