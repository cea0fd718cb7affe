"""Argo CD that knows its objects by a label, as it did by default before version 3, instead of by an annotation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from cluster import condition
from manifests import python, run
from tests.argocd.conftest import Platform
from tests.argocd.platform import APPLICATIONS

METHOD = "application.resourceTrackingMethod"


@pytest.fixture(scope="module")
def before(platform: Platform) -> list[str]:
    """The runs of the Pipeline that is run at each change, before it is tracked by label."""
    return platform.runs.names("train-")


@pytest.fixture(scope="module")
def labelled(platform: Platform, before: list[str]) -> Iterator[Platform]:
    """The same platform, tracked by label."""
    platform.argo.configure({METHOD: "label"})
    platform.argo.restart()
    only = run("labelled", [python("only", "pass")], ttlSecondsAfterFinished=5)
    platform.repository.write("labelled/run.yaml", yaml.safe_dump(only))
    platform.repository.push("A run")
    platform.add("labelled", "labelled")
    yield platform
    platform.argo.configure({METHOD: None})
    platform.argo.restart()
    # Only a sync writes the annotations again; what has none is not the Application's to delete.
    for application in platform.argo.cluster.list("Application"):
        platform.argo.sync(application["metadata"]["name"])


def test_everything_stays_synced_and_healthy(labelled: Platform):
    labelled.argo.refresh(*APPLICATIONS)

    for name in APPLICATIONS:
        labelled.argo.wait(name, health="Healthy", timeout=180)


def test_what_the_operator_makes_is_not_tracked(labelled: Platform):
    for name in APPLICATIONS:
        resources = labelled.argo.application(name)["status"]["resources"]

        assert not [item for item in resources if item.get("requiresPruning")], name
        assert not {"PipelineRun", "Pod", "ReplicaSet"} & {item["kind"] for item in resources}, name


def test_a_run_in_git_is_run_once_whatever_its_time_to_live(labelled: Platform):
    ended = labelled.team.finished("labelled")
    labelled.team.create(run("also-gone", [python("only", "pass")], ttlSecondsAfterFinished=5))
    labelled.team.finished("also-gone")

    labelled.team.wait_gone("PipelineRun", "also-gone", 60)

    assert condition(ended, "Succeeded")["reason"] == "Completed"
    assert labelled.team.get("PipelineRun", "labelled") is not None
    assert labelled.runs.names("labelled") == ["labelled"]


def test_nothing_was_run_again(labelled: Platform, before: list[str]):
    labelled.team.finished("labelled")

    assert labelled.runs.names("train-") == before
