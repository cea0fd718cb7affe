"""What a run's status says, from what was planned. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from cairn.api.conditions import Condition, set_condition, with_progress
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import AttemptStatus, PipelineRunStatus, StepCounts, StepStatus
from cairn.api.time import seconds_between
from cairn.runs import states
from cairn.runs.outcome import Outcome, progress_of
from cairn.runs.planner import Plan
from cairn.stacks.resolution import UsableStack

SUCCEEDED_CONDITION = "Succeeded"
FINISHED_CONDITION = "Finished"
SHORTENED_MESSAGE_LENGTH = 120


def record(
    old: PipelineRunStatus, planned: Plan, stack: UsableStack | None, generation: int, now: str
) -> PipelineRunStatus:
    """Return the status of a run that has started, or starts now."""
    start = old.start_time or now
    finished = planned.outcome.finished
    return PipelineRunStatus(
        conditions=_conditions(old.conditions, planned.outcome, generation, now),
        observed_generation=generation,
        start_time=start,
        completion_time=now if finished else None,
        duration_seconds=seconds_between(start, now) if finished else None,
        stack=old.stack or (stack.to_status() if stack else None),
        pipeline_revision=old.pipeline_revision,
        experiment=old.experiment,
        orchestrator_run=planned.orchestrator_run or old.orchestrator_run,
        tracking=old.tracking,
        steps_summary=_summary(planned.steps),
        step_counts=_counts(planned.steps),
        steps=planned.steps,
    )


def pending(spec: RunSpec) -> tuple[StepStatus, ...]:
    """Return the state of every step before the run has started."""
    return tuple(StepStatus(name=step.name, state="Pending") for step in spec.all_steps)


def waiting(
    old: PipelineRunStatus, spec: RunSpec | None, outcome: Outcome, generation: int, now: str
) -> PipelineRunStatus:
    """Return the status of a run that cannot start yet; without a spec where its steps are not known."""
    return old.model_copy(
        update={
            "conditions": _conditions(old.conditions, outcome, generation, now),
            "observed_generation": generation,
            **({"steps_summary": _summary(pending(spec))} if spec is not None else {}),
        }
    )


def ended_before_start(
    old: PipelineRunStatus,
    steps: Iterable[StepStatus],
    outcome: Outcome,
    generation: int,
    now: str,
    *,
    stack: UsableStack | None = None,
) -> PipelineRunStatus:
    """Return the status of a run that ends before any step has started."""
    ended = tuple(step.model_copy(update={"state": "Cancelled", "reason": outcome.reason}) for step in steps)
    return old.model_copy(
        update={
            "conditions": _conditions(old.conditions, outcome, generation, now),
            "observed_generation": generation,
            "start_time": now,
            "completion_time": now,
            "duration_seconds": 0,
            "stack": stack.to_status() if stack is not None else None,
            **({"steps": ended, "steps_summary": _summary(ended), "step_counts": _counts(ended)} if ended else {}),
        }
    )


def acknowledged(status: PipelineRunStatus, generation: int) -> PipelineRunStatus:
    """Return the status of a run that has ended, of a later generation: nothing of the spec that may change changes the end."""
    conditions = tuple(
        condition.model_copy(update={"observed_generation": generation}) for condition in status.conditions
    )
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})


def without_logs(status: PipelineRunStatus) -> PipelineRunStatus:
    """Return the status without what only explains: for a run that is as large as the API server keeps objects."""
    steps = tuple(
        step.model_copy(
            update={
                "log_tail": None,
                "log_uri": None,
                "cache_message": None,
                "image_digest": None,
                "message": step.message[:SHORTENED_MESSAGE_LENGTH] if step.message is not None else None,
                "previous_attempts": tuple(
                    AttemptStatus(number=attempt.number, reason=attempt.reason, charged=attempt.charged)
                    for attempt in step.previous_attempts or ()
                )
                or None,
            }
        )
        for step in status.steps
    )
    return status.model_copy(update={"steps": steps})


def _conditions(old: Sequence[Condition], outcome: Outcome, generation: int, now: str) -> tuple[Condition, ...]:
    conditions = set_condition(
        old,
        SUCCEEDED_CONDITION,
        status=outcome.status,
        reason=outcome.reason,
        message=outcome.message,
        generation=generation,
        now=now,
    )
    finished = set_condition(
        conditions,
        FINISHED_CONDITION,
        status="True" if outcome.finished else "False",
        reason=outcome.reason,
        message="The run has ended." if outcome.finished else "The run has not ended.",
        generation=generation,
        now=now,
    )
    return tuple(with_progress(finished, progress_of(outcome), SUCCEEDED_CONDITION, now))


def _summary(steps: Sequence[StepStatus]) -> str:
    return f"{sum(step.state in states.SUCCEEDED for step in steps)}/{len(steps)}"


def _counts(steps: Sequence[StepStatus]) -> StepCounts:
    counts = Counter(step.state.lower() for step in steps)
    return StepCounts.model_validate(dict(counts))
