from __future__ import annotations

from cairn.runs.allowance import results_allowed, within_allowance
from cairn.runs.observation import Fault, Phase
from tests.unit.builders import seen


def test_results_of_a_small_run_may_fill_a_termination_message():
    assert results_allowed(1) == results_allowed(128) == 4096


def test_a_large_run_shares_what_a_status_can_hold():
    assert results_allowed(1024) == 512


def test_results_within_the_allowance_count():
    attempt = seen("train", Phase.SUCCEEDED, results={"r": "x" * 511})

    assert within_allowance(attempt, 1024) is attempt


def test_an_attempt_with_larger_results_has_failed():
    attempt = seen("train", Phase.SUCCEEDED, results={"r": "x" * 512})

    counts = within_allowance(attempt, 1024)

    assert (counts.phase, counts.fault, counts.reason, counts.results) == (
        Phase.FAILED, Fault.STEP, "ResultsTooLarge", {},
    )  # fmt: skip
    assert counts.message == (
        "Its results have 513 characters; each of the run's 1024 steps may have 512. Keep what is larger as an artifact."
    )


def test_what_has_not_succeeded_stays_as_it_is():
    attempt = seen("train", Phase.RUNNING)

    assert within_allowance(attempt, 5000) is attempt
