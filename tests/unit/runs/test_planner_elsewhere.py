"""Plans of runs that an orchestrator carries out as a whole."""

from __future__ import annotations

import pytest

from cairn.runs.observation import Phase
from cairn.runs.readiness import Settled
from tests.unit.builders import NOW, after, run_spec, seen, step, step_status
from tests.unit.runs.planning import ended, planned, reasons, runs, states

A, B = step("a"), step("b", dependsOn=["a"])


@pytest.mark.parametrize(("steps_may_begin", "state"), [(True, "Pending"), (False, "Cancelled")])
def test_what_may_still_begin_there_is_not_cancelled_before_its_end_is_certain(*, steps_may_begin: bool, state: str):
    spec = run_spec(A, B, cancel="Graceful")

    decided = planned(spec, runs("a"), is_whole=True, steps_may_begin=steps_may_begin)

    assert states(decided) == {"a": "Running", "b": state}
    assert decided.is_ending


def test_a_run_whose_end_is_not_certain_says_what_it_waits_for():
    decided = planned(run_spec(A, B, cancel="Graceful"), recorded=ended("a"), is_whole=True, steps_may_begin=True)

    assert decided.outcome.message == "The run was cancelled. What carries it out is about to end it."


@pytest.mark.parametrize("fields", [{}, {"suspend": True}])
def test_what_could_begin_and_never_will_has_failed_and_the_rest_follows(fields: dict[str, bool]):
    spec = run_spec(step("c"), A, B, **fields)
    never = Settled("Failed", "NotRun", "It has ended without it.")

    decided = planned(spec, recorded=ended("c"), is_whole=True, never_begun=never)

    assert states(decided) == {"c": "Succeeded", "a": "Failed", "b": "Skipped"}
    assert reasons(decided)["a"] == "NotRun"


def test_what_was_not_to_run_is_skipped_and_has_not_failed():
    spec = run_spec(A, step("b", when="params.deploy == 'yes'"), parameters=[{"name": "deploy", "value": "no"}])
    never = Settled("Failed", "NotRun", "It has ended without it.")

    assert states(planned(spec, recorded=ended("a"), is_whole=True, never_begun=never))["b"] == "Skipped"


def test_an_immediate_end_waits_for_nothing():
    spec = run_spec(A, B, cancel="Immediate")

    assert states(planned(spec, runs("a"), is_whole=True, steps_may_begin=True))["b"] == "Cancelled"


def test_another_attempt_that_was_made_there_has_begun_with_its_pod():
    retrying = step_status("a", "Retrying", attempts=1, reason="ExitCode", nextAttemptTime=NOW)
    made = seen("a", Phase.WAITING, number=2, has_own_pod=True, pod_created=NOW)

    decided = planned(run_spec(step("a", retry={"limit": 1})), made, recorded=[retrying], now=after(60), is_whole=True)

    (status,) = decided.steps
    assert (status.state, status.attempts, status.queued_time) == ("Queued", 2, NOW)


def test_a_step_that_was_said_to_run_waits_where_its_pod_shows_that():
    recorded = step_status("a", "Running", attempts=1, queuedTime=NOW, startTime=NOW)
    waits = seen("a", Phase.WAITING, has_own_pod=True, pod_created=NOW, reason="ErrImagePull", message="no such image")

    decided = planned(run_spec(step("a", pendingTimeoutSeconds=60)), waits, recorded=[recorded], is_whole=True)
    late = planned(
        run_spec(step("a", pendingTimeoutSeconds=60)), waits, recorded=decided.steps, now=after(62), is_whole=True
    )

    assert (decided.steps[0].state, decided.steps[0].start_time) == ("Queued", None)
    assert (states(late), reasons(late)) == ({"a": "Failed"}, {"a": "ErrImagePull"})


def test_a_step_that_is_seen_late_was_not_queued_after_its_start():
    decided = planned(run_spec(A, B), runs("b"), recorded=ended("a"), now=after(60), is_whole=True)

    assert (decided.steps[1].queued_time, decided.steps[1].start_time) == (NOW, NOW)
