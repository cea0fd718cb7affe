"""What Kubeflow Pipelines tells of a run, as it was recorded (tests/kfp/recordings). Pure.

Its tasks are a flat list by the names that people see. That of an attempt is `executor`, for every step; which step's it is,
only its pod tells. Neither what a task has written nor why it failed is in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cairn.api.base import JsonObject

ENDED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
NAMES = frozenset({"root", "executor"})
"""Tasks of its own, in one list with those of the pipeline."""
DRIVER_SUFFIX = "-driver"
"""Ends the name of the task that finds out what another one is to run with."""
UNDER_WAY = frozenset({"PENDING", "RUNNING", "CANCELING", "PAUSED"})
NEVER = frozenset({"0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"})
"""Times of what has not happened."""
_ATTEMPT = re.compile(r"executor(\(\d+\))?")


@dataclass(frozen=True)
class TaskDetails:
    """One task."""

    state: str | None
    """None where it was left out, or nothing is known of it yet."""
    started: str | None
    ended: str | None


@dataclass(frozen=True)
class RunDetails:
    """One run."""

    state: str | None
    """None shortly after it was created."""
    was_terminated: bool
    """Whether somebody has ended it: it has FAILED then, as one does in which a step has."""
    tasks: Mapping[str, TaskDetails]
    """By name; attempts aside."""

    @property
    def has_ended(self) -> bool:
        """Whether the run goes on no more; its tasks may tell so some seconds later."""
        return self.state in ENDED

    @property
    def is_settled(self) -> bool:
        """Whether the tasks of a run that has ended tell so too."""
        return self.has_ended and not any(task.state in UNDER_WAY for task in self.tasks.values())


def details_of(run: JsonObject) -> RunDetails:
    """Return what is told of a run."""
    tasks = (run.get("run_details") or {}).get("task_details") or ()
    return RunDetails(
        state=_state(run),
        was_terminated=any(item.get("state") == "CANCELING" for item in (run, *(run.get("state_history") or ()))),
        tasks={
            task["display_name"]: TaskDetails(_state(task), _time(task, "start_time"), _time(task, "end_time"))
            for task in tasks
            if not _ATTEMPT.fullmatch(task["display_name"])
        },
    )


def _state(told: JsonObject) -> str | None:
    state = told.get("state")
    return state if state in ENDED | UNDER_WAY else None


def _time(told: JsonObject, name: str) -> str | None:
    found = told.get(name)
    return None if found is None or found in NEVER else str(found)
