"""What KFP's persistence agent reports of a workflow: first the run's state, then its tasks."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from .state import CANCELING, Moment, Node, Phase, Run, TaskDetail


def report_run(run: Run, phase: Phase | None, finished_at: datetime | None, now: datetime) -> None:
    """Take over the state of a workflow as it was seen."""
    is_final = phase is not None and phase.is_final
    run.state = phase.value if phase else None
    if run.workflow.is_terminating and not is_final:
        run.state = CANCELING
    run.finished_at = finished_at if is_final else None
    remember(run.state_history, run.state, now)


def report_tasks(run: Run, nodes: list[Node], now: datetime) -> None:
    """Take over the nodes of a workflow as they were seen; tasks whose node is gone stay as they were."""
    for node in nodes:
        state = None if node.phase is Phase.OMITTED else node.phase.value
        if node.id not in run.tasks:
            run.tasks[node.id] = TaskDetail(
                task_id=str(uuid4()),
                display_name=node.display_name,
                create_time=run.workflow.created_at,
                start_time=node.started_at,
                end_time=node.finished_at,
            )
        task = run.tasks[node.id]
        task.state = state
        task.start_time = node.started_at
        task.end_time = node.finished_at
        task.children = node.children or task.children
        remember(task.state_history, state, now)


def remember(history: list[Moment], state: str | None, now: datetime) -> None:
    """Add a state to a history, if it is another than the last."""
    if not history or history[-1].state != state:
        history.append(Moment(state=state, update_time=now))
