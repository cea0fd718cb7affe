from __future__ import annotations

from cairn.runs.allowance import results_allowed, size_of, within_allowance
from cairn.runs.observation import Fault, Phase
from tests.unit.builders import outputs, run_spec, run_steps, seen, step, step_status

SPLIT = step("split", outputs=outputs(results=["shards"]))


def test_results_of_a_small_run_may_fill_a_termination_message():
    assert results_allowed(run_steps(run_spec(step("a"))), "a") == 4096


def test_the_steps_of_a_large_run_share_what_a_status_can_hold():
    steps = run_steps(run_spec(*(step(f"s{index}") for index in range(256))))

    assert results_allowed(steps, "s0") == 1024


def test_the_instances_of_steps_share_as_much_again():
    each = step("each", forEach={"items": ["x"] * 512})

    assert results_allowed(run_steps(run_spec(each)), "each-7") == 512


def test_no_step_s_share_becomes_smaller_when_items_become_known():
    spec = run_spec(SPLIT, step("beside"), step("each", forEach={"itemsFrom": "steps.split.results.shards"}))
    items = [{"name": "shards", "value": str([0] * 900)}]
    later = run_steps(spec, {"split": step_status("split", "Succeeded", results=items)})

    assert len(later.by_name) == 902
    assert results_allowed(run_steps(spec), "beside") == results_allowed(later, "beside") == 4096


def test_a_size_is_what_the_status_has_in_bytes():
    assert size_of({"r": "\u4e2d"}) == len('"r""') + 4


def test_results_within_the_allowance_count():
    attempt = seen("train", Phase.SUCCEEDED, results={"r": "x" * 10})

    assert within_allowance(attempt, 15) is attempt


def test_an_attempt_with_larger_results_has_failed():
    attempt = seen("train", Phase.SUCCEEDED, results={"r": "x" * 11})

    counts = within_allowance(attempt, 15)

    assert (counts.phase, counts.fault, counts.reason, counts.results) == (
        Phase.FAILED, Fault.STEP, "ResultsTooLarge", {},
    )  # fmt: skip
    assert counts.message == (
        "Its results have 16 bytes; in a run of so many steps they may have 15. Keep what is larger as an artifact."
    )


def test_what_has_not_succeeded_stays_as_it_is():
    attempt = seen("train", Phase.RUNNING)

    assert within_allowance(attempt, 0) is attempt
