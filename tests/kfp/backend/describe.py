"""Experiments and runs as JSON: empty fields are left out, as protojson leaves them out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .state import Experiment, Moment, Run, TaskDetail

NO_TIME = "0001-01-01T00:00:00Z"
"""Of a task that has not ended: Go's zero time."""
EPOCH = "1970-01-01T00:00:00Z"
"""Of a run that has not ended: zero seconds in the database."""


def timestamp(when: datetime | None, absent: str = EPOCH) -> str:
    """Return a time to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if when else absent


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what protojson writes of a message."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def experiment(found: Experiment) -> dict[str, Any]:
    """Return an experiment."""
    return without_empty(
        {
            "experiment_id": found.experiment_id,
            "display_name": found.display_name,
            "description": found.description,
            "namespace": found.namespace,
            "created_at": timestamp(found.created_at),
            "last_run_created_at": timestamp(found.last_run_created_at),
            "storage_state": found.storage_state,
        }
    )


def run(found: Run) -> dict[str, Any]:
    """Return a run with its tasks, in the order of their IDs."""
    tasks = sorted(found.tasks.values(), key=lambda task: task.task_id)
    return without_empty(
        {
            "run_id": found.run_id,
            "display_name": found.display_name,
            "description": found.description,
            "experiment_id": found.experiment_id,
            "pipeline_spec": found.pipeline_spec,
            "runtime_config": without_empty(found.runtime_config),
            "service_account": found.service_account,
            "storage_state": found.storage_state,
            "created_at": timestamp(found.created_at),
            "scheduled_at": timestamp(found.created_at),
            "finished_at": timestamp(found.finished_at),
            "state": found.state,
            "state_history": [_moment(moment) for moment in found.state_history],
            "run_details": without_empty({"task_details": [_task(found, task) for task in tasks]}),
        }
    )


def _task(found: Run, task: TaskDetail) -> dict[str, Any]:
    return without_empty(
        {
            "run_id": found.run_id,
            "task_id": task.task_id,
            "display_name": task.display_name,
            "execution_id": None if task.execution_id is None else str(task.execution_id),
            "create_time": timestamp(task.create_time),
            "start_time": timestamp(task.start_time),
            "end_time": timestamp(task.end_time, NO_TIME),
            "state": task.state,
            "state_history": [_moment(moment) for moment in task.state_history],
            "child_tasks": [{"pod_name": child} for child in task.children],
        }
    )


def _moment(moment: Moment) -> dict[str, Any]:
    return without_empty({"state": moment.state, "update_time": timestamp(moment.update_time)})
