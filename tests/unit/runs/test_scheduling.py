from __future__ import annotations

import pytest

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.scheduling import Candidates, Launch, OneJobPerStep
from tests.unit.builders import (
    LATER,
    after,
    outputs,
    run_spec,
    run_steps,
    states,
    step,
    step_status,
    template,
)
from tests.unit.runs.planning import one_pod

CHAIN = (step("load"), step("train", dependsOn=["load"]), step("report", dependsOn=["train"]))


def candidates(
    spec: RunSpec, *, unmade: str = "", live_workloads: int = 0, seconds: float = 0, **by_step: str | StepStatus
) -> Candidates:
    """Return steps in these states; `unmade` are those, each a letter, whose attempt is recorded but not made."""
    all_states = {
        name: states(**{name: state})[name] if isinstance(state, str) else state for name, state in by_step.items()
    }
    steps = run_steps(spec)
    return Candidates(steps, frozenset(steps.main), all_states, frozenset(unmade), live_workloads, after(seconds))


def retrying(name: str, next_attempt: str | None = LATER) -> StepStatus:
    return step_status(name, "Retrying", attempts=1, nextAttemptTime=next_attempt)


class TestOneJobPerStep:
    def test_each_ready_step_gets_a_job_of_its_own(self):
        spec = run_spec(step("a"), step("b"), step("c", dependsOn=["a"]))

        launches = OneJobPerStep(10).launches(candidates(spec, a="Pending", b="Pending", c="Pending"))

        assert launches == [Launch((("a", 1),)), Launch((("b", 1),))]

    @pytest.mark.parametrize(
        ("orchestrator", "run", "started"), [(10, None, 3), (2, None, 1), (10, 2, 1), (2, 9, 1), (1, None, 0)]
    )
    def test_what_is_under_way_counts_against_the_lower_of_the_two_limits(
        self, orchestrator: int, run: int | None, started: int
    ):
        spec = run_spec(*(step(name) for name in "abcd"), maxParallelSteps=run)

        launches = OneJobPerStep(orchestrator).launches(
            candidates(spec, a="Queued", b="Pending", c="Pending", d="Pending")
        )

        assert len(launches) == started

    def test_no_more_starts_where_more_is_under_way_than_the_limit_allows(self):
        spec = run_spec(step("a"), step("b"), step("c"))

        assert OneJobPerStep(1).launches(candidates(spec, a="Running", b="Running", c="Pending")) == []

    @pytest.mark.parametrize("state", ["Pending", "Queued", "Running", "Failed", "Skipped"])
    def test_a_step_starts_only_when_what_it_needs_has_succeeded(self, state: str):
        spec = run_spec(step("a"), step("b", dependsOn=["a"]))

        launches = OneJobPerStep(9).launches(candidates(spec, a=state, b="Pending"))

        assert Launch((("b", 1),)) not in launches

    def test_a_step_is_tried_again_once_that_is_due(self):
        spec, waits = run_spec(step("a")), retrying("a")

        assert OneJobPerStep(9).launches(candidates(spec, a=waits, seconds=59)) == []
        assert OneJobPerStep(9).launches(candidates(spec, a=waits, seconds=60)) == [Launch((("a", 2),))]

    def test_a_step_of_which_no_time_is_known_is_tried_again_at_once(self):
        launches = OneJobPerStep(9).launches(candidates(run_spec(step("a")), a=retrying("a", None)))

        assert launches == [Launch((("a", 2),))]

    def test_a_step_that_waits_for_its_next_attempt_takes_no_place(self):
        spec = run_spec(step("a"), step("b"))

        assert OneJobPerStep(1).launches(candidates(spec, a=retrying("a"), b="Pending")) == [Launch((("b", 1),))]

    def test_what_was_decided_upon_is_made_whatever_the_limits_and_takes_its_place(self):
        spec = run_spec(step("a"), step("b"), step("c"))

        launches = OneJobPerStep(1).launches(candidates(spec, unmade="ab", a="Queued", b="Queued", c="Pending"))

        assert launches == [Launch((("a", 1),)), Launch((("b", 1),))]


class TestOnePodForAll:
    def test_all_steps_share_a_pod_in_their_order(self):
        spec = run_spec(*reversed(CHAIN))

        launches = one_pod(spec).launches(candidates(spec, load="Pending", train="Pending", report="Pending"))

        assert launches == [Launch((("load", 1), ("train", 1), ("report", 1)))]

    @pytest.mark.parametrize("state", ["Queued", "Running"])
    def test_there_is_one_pod_at_a_time(self, state: str):
        spec = run_spec(step("a"), step("b"))

        assert one_pod(spec).launches(candidates(spec, a=state, b="Pending")) == []

    def test_a_step_that_uses_a_result_waits_for_the_next_pod(self):
        spec = run_spec(
            step("eval", outputs=outputs(results=["rmse"])),
            step("report", args=["$(steps.eval.results.rmse)"]),
            step("other"),
        )

        first = one_pod(spec).launches(candidates(spec, eval="Pending", report="Pending", other="Pending"))
        second = one_pod(spec).launches(candidates(spec, eval="Succeeded", report="Pending", other="Succeeded"))

        assert first == [Launch((("eval", 1), ("other", 1)))]
        assert second == [Launch((("report", 1),))]

    def test_a_step_whose_pod_has_other_settings_gets_a_pod_of_its_own(self):
        spec = run_spec(
            step("load"),
            step("gpu", dependsOn=["load"], podTemplate=template(nodeSelector={"gpu": "yes"})),
            step("plot", dependsOn=["load"]),
        )

        first = one_pod(spec).launches(candidates(spec, load="Pending", gpu="Pending", plot="Pending"))

        assert first == [Launch((("load", 1), ("plot", 1)))]

    def test_steps_share_a_pod_whatever_their_containers_are_like(self):
        spec = run_spec(step("a", resources={"limits": {"cpu": "1"}}), step("b", env=[{"name": "A", "value": "1"}]))

        assert len(one_pod(spec).launches(candidates(spec, a="Pending", b="Pending"))) == 1

    def test_what_was_skipped_is_left_out(self):
        spec = run_spec(*CHAIN, step("free"))

        launches = one_pod(spec).launches(
            candidates(spec, load="Failed", train="Skipped", report="Skipped", free="Pending")
        )

        assert launches == [Launch((("free", 1),))]

    def test_nothing_left_is_no_pod(self):
        spec = run_spec(step("a"))

        assert one_pod(spec).launches(candidates(spec, a="Succeeded")) == []

    def test_the_next_pod_waits_until_the_last_one_s_job_has_ended(self):
        spec = run_spec(step("a"), step("b"))

        assert one_pod(spec).launches(candidates(spec, live_workloads=1, a="Failed", b="Pending")) == []

    def test_what_was_decided_upon_comes_first_since_the_job_has_its_name(self):
        spec = run_spec(step("a"), step("b"), step("c", dependsOn=["b"]))

        launches = one_pod(spec).launches(candidates(spec, unmade="b", a="Pending", b="Queued", c="Pending"))

        assert launches == [Launch((("b", 1), ("a", 1), ("c", 1)))]

    def test_what_was_refused_just_now_is_not_made_with_others(self):
        spec = run_spec(step("a"), step("b"))

        assert one_pod(spec).launches(candidates(spec, a="Queued", b="Pending")) == []

    def test_a_step_that_is_not_due_again_leaves_the_pod_to_others(self):
        spec = run_spec(step("a"), step("b"), step("c", dependsOn=["a"]))

        early = one_pod(spec).launches(candidates(spec, a=retrying("a"), b="Pending", c="Pending"))
        due = one_pod(spec).launches(candidates(spec, a=retrying("a"), b="Succeeded", c="Pending", seconds=60))

        assert early == [Launch((("b", 1),))]
        assert due == [Launch((("a", 2), ("c", 1)))]
