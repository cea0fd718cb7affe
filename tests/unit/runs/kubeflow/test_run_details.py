"""What Kubeflow Pipelines tells of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cairn.runs.kubeflow.run_details import RunDetails, details_of

RECORDINGS = Path(__file__).parents[3] / "kfp/recordings"


def polled(name: str) -> list[RunDetails]:
    """Return what was told of a recorded run, each time that something had changed."""
    return [details_of(answer["response"]["body"]) for answer in json.loads((RECORDINGS / f"{name}.json").read_text())]


def states(details: RunDetails, *names: str) -> list[str | None]:
    return [details.tasks[name].state if name in details.tasks else None for name in names]


def test_of_a_new_run_nothing_is_known_yet():
    first = polled("poll-ok")[0]

    assert (first.state, first.tasks, first.has_ended) == ("PENDING", {}, False)


def test_each_step_has_a_task_of_its_name():
    *_, last = polled("poll-ok")

    assert states(last, "prep", "train", "root") == ["SUCCEEDED"] * 3
    assert (last.tasks["prep"].started, last.tasks["prep"].ended) == ("2026-11-21T09:56:36Z", "2026-11-21T09:56:46Z")


def test_what_has_not_ended_has_no_end():
    running = next(details for details in polled("poll-ok") if states(details, "prep") == ["RUNNING"])

    assert running.tasks["prep"].ended is None


def test_what_comes_after_a_step_that_failed_has_no_state():
    *_, last = polled("poll-fail")

    assert (last.state, states(last, "boom", "independent", "after")) == ("FAILED", ["FAILED", "SUCCEEDED", None])


@pytest.mark.parametrize(("name", "was_terminated"), [("poll-fail", False), ("poll-cancel-after", True)])
def test_a_run_that_somebody_has_ended_is_told_from_one_that_failed(name: str, was_terminated: bool):
    *_, last = polled(name)

    assert (last.state, last.was_terminated) == ("FAILED", was_terminated)


def test_a_run_that_is_about_to_end_says_so_before_its_history_does():
    first, *_ = polled("poll-cancel-after")

    assert (first.state, first.was_terminated, first.has_ended) == ("CANCELING", True, False)


def test_a_run_may_have_ended_before_its_tasks_tell():
    *_, last = polled("poll-retries")

    assert (last.has_ended, last.is_settled) == (True, False)


def test_attempts_are_no_steps():
    assert all("executor" not in name for details in polled("poll-retries") for name in details.tasks)
