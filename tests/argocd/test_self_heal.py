"""Half an hour of Argo CD that puts back what is not as in Git, with runs that are deleted after their time to live."""

from __future__ import annotations

import time

import pytest
import yaml

from manifests import pipeline, python, run
from polling import poll
from tests.argocd.conftest import Platform
from tests.argocd.platform import APPLICATIONS, ROOT

APPLICATION = "time-to-live"
SECONDS = 1800
TIME_TO_LIVE = 20


@pytest.fixture(scope="module")
def half_an_hour(platform: Platform) -> Platform:
    """The platform after half an hour with a run in Git and a Pipeline in Git whose runs live for seconds only."""
    only = [python("only", "pass")]
    kept = run("in-git", only, ttlSecondsAfterFinished=TIME_TO_LIVE)
    changes = pipeline("on-change", only, runPolicy="OnChange", ttlSecondsAfterFinished=TIME_TO_LIVE)
    platform.repository.write(f"{APPLICATION}/run.yaml", yaml.safe_dump(kept))
    platform.repository.write(f"{APPLICATION}/pipeline.yaml", yaml.safe_dump(changes))
    platform.repository.push("Runs that live for seconds")
    platform.add(APPLICATION, APPLICATION)
    platform.argo.wait(APPLICATION, health="Healthy", timeout=180)
    poll(
        lambda: platform.team.get("PipelineRun", _made(platform)), lambda found: found is None, 180, "it is not deleted"
    )
    began = time.monotonic()
    while (left := SECONDS - (time.monotonic() - began)) > 0:
        time.sleep(min(60, left))
        platform.argo.refresh(APPLICATION)
        platform.runs.assert_watched()
    return platform


def _made(platform: Platform) -> str:
    return poll(lambda: platform.runs.names("on-change-"), bool, 60, "no run of the Pipeline")[0]


def test_reruns_neither_the_run_nor_the_pipeline(half_an_hour: Platform):
    assert half_an_hour.runs.names("in-git") == ["in-git"]
    assert len(half_an_hour.runs.names("on-change-")) == 1


def test_leaves_every_application_synced_and_healthy(half_an_hour: Platform):
    for name in (ROOT, *APPLICATIONS, APPLICATION):
        half_an_hour.argo.wait(name, health="Healthy", timeout=60)
