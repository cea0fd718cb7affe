from __future__ import annotations

from cairn.api.conditions import find_condition
from cairn.api.pipelinerun_status import PipelineRunStatus, StepCounts, StepStatus
from cairn.runs.outcome import Outcome
from cairn.runs.planner import Plan
from cairn.runs.status import acknowledged, ended_before_start, pending, record, waiting, without_logs
from tests.unit.builders import EARLIER, LATER, NOW, kubernetes_stack, run_spec, states, step, step_status

RUNNING = Outcome("Unknown", "Running", "Steps under way: load.")
COMPLETED = Outcome("True", "Completed", "All 2 steps succeeded.")
FAILED = Outcome("False", "StepFailed", "Step load failed.")


def planned(outcome: Outcome, **by_step: str) -> Plan:
    return Plan((), tuple(states(**by_step).values()), outcome)


def conditions(status: PipelineRunStatus) -> dict[str, tuple[str, str]]:
    return {item.type: (item.status, item.reason) for item in status.conditions}


def test_a_run_starts_with_its_first_status():
    status = record(PipelineRunStatus(), planned(RUNNING, load="Queued", train="Pending"), kubernetes_stack(), 1, NOW)

    assert (status.start_time, status.completion_time, status.duration_seconds) == (NOW, None, None)
    assert conditions(status) == {
        "Succeeded": ("Unknown", "Running"),
        "Finished": ("False", "Running"),
        "Reconciling": ("True", "Running"),
    }
    assert status.steps_summary == "0/2"


def test_a_run_keeps_its_start_and_gets_its_end():
    old = PipelineRunStatus(start_time=EARLIER)

    status = record(old, planned(COMPLETED, load="Succeeded", train="Succeeded"), kubernetes_stack(), 1, LATER)

    assert (status.start_time, status.completion_time, status.duration_seconds) == (EARLIER, LATER, 120)
    assert conditions(status) == {"Succeeded": ("True", "Completed"), "Finished": ("True", "Completed")}
    assert status.steps_summary == "2/2"


def test_a_run_that_failed_has_finished_too():
    status = record(PipelineRunStatus(), planned(FAILED, load="Failed", train="Skipped"), None, 1, NOW)

    assert conditions(status) == {
        "Succeeded": ("False", "StepFailed"),
        "Finished": ("True", "StepFailed"),
        "Stalled": ("True", "StepFailed"),
    }


def test_the_same_state_gives_the_same_status_later():
    state = planned(RUNNING, load="Running", train="Pending")
    first = record(PipelineRunStatus(), state, kubernetes_stack(), 1, NOW)

    assert record(first, state, kubernetes_stack(), 1, LATER) == first


def test_a_condition_s_time_moves_only_with_its_status():
    first = record(PipelineRunStatus(), planned(RUNNING, load="Queued"), None, 1, NOW)
    second = record(first, planned(Outcome("Unknown", "Suspended", "Suspended."), load="Pending"), None, 1, LATER)
    third = record(second, planned(COMPLETED, load="Succeeded"), None, 1, LATER)

    times = [find_condition(status.conditions, "Succeeded") for status in (first, second, third)]
    assert [condition.last_transition_time for condition in times if condition] == [NOW, NOW, LATER]


def test_steps_are_counted_by_state():
    status = record(
        PipelineRunStatus(),
        planned(RUNNING, a="Succeeded", b="Running", c="Queued", d="Pending", e="Pending"),
        None,
        1,
        NOW,
    )

    assert status.step_counts is not None
    assert status.step_counts.model_dump(exclude_defaults=True) == {
        "succeeded": 1,
        "running": 1,
        "queued": 1,
        "pending": 2,
    }


def test_the_stack_is_recorded_as_it_was_at_the_start():
    first = record(PipelineRunStatus(), planned(RUNNING, load="Queued"), kubernetes_stack(), 1, NOW)
    later = record(first, planned(RUNNING, load="Running"), None, 1, LATER)

    assert later.stack == first.stack
    assert first.stack is not None
    assert first.stack.name == "production"


def test_a_run_that_waits_has_not_started():
    spec = run_spec(step("load"), step("train"))

    status = waiting(PipelineRunStatus(), spec, Outcome("Unknown", "StackNotReady", "No stack."), 1, NOW)

    assert (status.start_time, status.stack, status.steps_summary) == (None, None, "0/2")
    assert conditions(status)["Succeeded"] == ("Unknown", "StackNotReady")


def test_a_refused_run_starts_and_ends_at_once():
    status = ended_before_start(PipelineRunStatus(), (), Outcome("False", "InvalidSpec", "spec.steps: no."), 1, NOW)

    assert (status.start_time, status.completion_time, status.duration_seconds) == (NOW, NOW, 0)
    assert conditions(status)["Finished"] == ("True", "InvalidSpec")
    assert status.steps == ()


def test_a_run_that_is_cancelled_before_its_start_has_cancelled_steps():
    steps = pending(run_spec(step("load"), step("train")))

    status = ended_before_start(PipelineRunStatus(), steps, Outcome("False", "Cancelled", "Cancelled."), 1, NOW)

    assert [(item.name, item.state, item.reason) for item in status.steps] == [
        ("load", "Cancelled", "Cancelled"),
        ("train", "Cancelled", "Cancelled"),
    ]
    assert (status.steps_summary, status.step_counts) == ("0/2", StepCounts(cancelled=2))


def test_a_run_that_is_stopping_has_not_ended():
    stopping = planned(Outcome("Unknown", "Stopping", "The run was cancelled."), load="Running", train="Cancelled")

    status = record(PipelineRunStatus(start_time=EARLIER), stopping, None, 1, NOW)

    assert (status.completion_time, conditions(status)["Finished"]) == (None, ("False", "Stopping"))


def test_a_status_that_is_too_large_goes_without_its_logs_and_with_short_messages():
    failed = step_status("load", "Failed", attempts=1, reason="ExitCode", message="x" * 1024, logTail="y" * 1024)

    (short,) = without_logs(PipelineRunStatus(steps=(failed,))).steps

    assert (short.state, short.reason, short.log_tail) == ("Failed", "ExitCode", None)
    assert short.message == "x" * 120


def test_no_step_s_state_is_left_out_of_the_counts():
    names = StepStatus.model_json_schema()["properties"]["state"]["enum"]

    status = record(PipelineRunStatus(), planned(RUNNING, **{name.lower(): name for name in names}), None, 1, NOW)

    assert status.step_counts is not None
    assert set(status.step_counts.model_dump().values()) == {1}


def test_what_changes_after_the_end_leaves_the_end_true_of_the_new_spec_too():
    ended = record(PipelineRunStatus(), planned(COMPLETED, load="Succeeded"), None, 1, NOW)

    status = acknowledged(ended, 2)

    assert (status.observed_generation, {item.observed_generation for item in status.conditions}) == (2, {2})
    assert conditions(status) == conditions(ended)
