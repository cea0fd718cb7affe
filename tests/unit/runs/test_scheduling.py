from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.graph import dependencies_of, results_of
from cairn.runs.observation import AttemptObservation, Phase
from cairn.runs.planner import ACTIVE, ENDED, Observed, plan
from cairn.runs.pod import pod_settings, step_template
from cairn.runs.scheduling import Launch, OneJobPerStep, OnePodForAll, Scheduler
from tests.unit.builders import inputs, local_stack, outputs, pod_context, run_spec, states, step, template

CHAIN = (step("load"), step("train", dependsOn=["load"]), step("report", dependsOn=["train"]))


def one_pod(spec: PipelineRunSpec) -> OnePodForAll:
    context = pod_context(local_stack())
    return OnePodForAll({one.name: pod_settings(step_template(context, one)) for one in spec.steps})


class TestOneJobPerStep:
    def test_each_ready_step_gets_a_job_of_its_own(self):
        spec = run_spec(step("a"), step("b"), step("c", dependsOn=["a"]))

        launches = OneJobPerStep(10).launches(spec, states(a="Pending", b="Pending", c="Pending"))

        assert launches == [Launch((("a", 1),)), Launch((("b", 1),))]

    @pytest.mark.parametrize(
        ("orchestrator", "run", "started"), [(10, None, 3), (2, None, 1), (10, 2, 1), (2, 9, 1), (1, None, 0)]
    )
    def test_what_is_under_way_counts_against_the_lower_of_the_two_limits(
        self, orchestrator: int, run: int | None, started: int
    ):
        spec = run_spec(*(step(name) for name in "abcd"), maxParallelSteps=run)

        launches = OneJobPerStep(orchestrator).launches(spec, states(a="Queued", b="Pending", c="Pending", d="Pending"))

        assert len(launches) == started

    def test_no_more_starts_where_more_is_under_way_than_the_limit_allows(self):
        spec = run_spec(step("a"), step("b"), step("c"))

        assert OneJobPerStep(1).launches(spec, states(a="Running", b="Running", c="Pending")) == []

    @pytest.mark.parametrize("state", ["Pending", "Queued", "Running", "Failed", "Skipped"])
    def test_a_step_starts_only_when_what_it_needs_has_succeeded(self, state: str):
        spec = run_spec(step("a"), step("b", dependsOn=["a"]))

        launches = OneJobPerStep(9).launches(spec, states(a=state, b="Pending"))

        assert Launch((("b", 1),)) not in launches


class TestOnePodForAll:
    def test_all_steps_share_a_pod_in_their_order(self):
        spec = run_spec(*reversed(CHAIN))

        launches = one_pod(spec).launches(spec, states(load="Pending", train="Pending", report="Pending"))

        assert launches == [Launch((("load", 1), ("train", 1), ("report", 1)))]

    @pytest.mark.parametrize("state", ["Queued", "Running"])
    def test_there_is_one_pod_at_a_time(self, state: str):
        spec = run_spec(step("a"), step("b"))

        assert one_pod(spec).launches(spec, states(a=state, b="Pending")) == []

    def test_a_step_that_uses_a_result_waits_for_the_next_pod(self):
        spec = run_spec(
            step("eval", outputs=outputs(results=["rmse"])),
            step("report", args=["$(steps.eval.results.rmse)"]),
            step("other"),
        )

        first = one_pod(spec).launches(spec, states(eval="Pending", report="Pending", other="Pending"))
        second = one_pod(spec).launches(spec, states(eval="Succeeded", report="Pending", other="Succeeded"))

        assert first == [Launch((("eval", 1), ("other", 1)))]
        assert second == [Launch((("report", 1),))]

    def test_a_step_whose_pod_has_other_settings_gets_a_pod_of_its_own(self):
        spec = run_spec(
            step("load"),
            step("gpu", dependsOn=["load"], podTemplate=template(nodeSelector={"gpu": "yes"})),
            step("plot", dependsOn=["load"]),
        )

        first = one_pod(spec).launches(spec, states(load="Pending", gpu="Pending", plot="Pending"))

        assert first == [Launch((("load", 1), ("plot", 1)))]

    def test_steps_share_a_pod_whatever_their_containers_are_like(self):
        spec = run_spec(step("a", resources={"limits": {"cpu": "1"}}), step("b", env=[{"name": "A", "value": "1"}]))

        assert len(one_pod(spec).launches(spec, states(a="Pending", b="Pending"))) == 1

    def test_what_was_skipped_is_left_out(self):
        spec = run_spec(*CHAIN, step("free"))

        launches = one_pod(spec).launches(
            spec, states(load="Failed", train="Skipped", report="Skipped", free="Pending")
        )

        assert launches == [Launch((("free", 1),))]

    def test_nothing_left_is_no_pod(self):
        spec = run_spec(step("a"))

        assert one_pod(spec).launches(spec, states(a="Succeeded")) == []


@st.composite
def runs(draw: st.DrawFn) -> PipelineRunSpec:
    """A run of up to eight steps: each may wait for, read from or use results of earlier ones."""
    steps = []
    for index in range(draw(st.integers(1, 8))):
        earlier = [f"s{number}" for number in range(index)]
        uses = {name: draw(st.sampled_from(["", "", "dependsOn", "artifact", "result"])) for name in earlier}
        steps.append(
            step(
                f"s{index}",
                dependsOn=[name for name, use in uses.items() if use == "dependsOn"],
                inputs=inputs(**{name: f"{name}.out" for name, use in uses.items() if use == "artifact"}),
                args=[f"$(steps.{name}.results.r)" for name, use in uses.items() if use == "result"],
                outputs=outputs("out", results=["r"]),
                podTemplate=template(nodeSelector={"pool": draw(st.sampled_from(["cpu", "cpu", "gpu"]))}),
            )
        )
    order = draw(st.permutations(steps))
    return run_spec(*order, maxParallelSteps=draw(st.none() | st.integers(1, 3)))


@dataclass
class Simulation:
    """Jobs that come to an end in random order; some steps always fail."""

    spec: PipelineRunSpec
    scheduler: Scheduler
    doomed: set[str]
    random: Random
    recorded: dict[str, StepStatus] = field(default_factory=dict[str, StepStatus])
    jobs: list[Launch] = field(default_factory=list[Launch])
    seen: dict[str, AttemptObservation] = field(default_factory=dict[str, AttemptObservation])
    made: set[str] = field(default_factory=set[str])
    """The names of all Jobs: they stay."""
    started: list[str] = field(default_factory=list[str])
    """Steps whose container has started, in that order."""

    def run(self) -> dict[str, str]:
        """Reconcile until the run has finished; return each step's state."""
        for _ in range(300):
            planned = plan(self.spec, Observed(self.recorded, self.seen, frozenset(self.made)), self.scheduler)
            self.recorded = {status.name: status for status in planned.steps}
            if planned.outcome.finished:
                return {status.name: status.state for status in planned.steps}
            for launch in planned.launches:
                self._create(launch)
            limit = self.spec.max_parallel_steps
            assert limit is None or len(self.jobs) <= limit
            if self.jobs:
                self._advance(self.random.choice(self.jobs))
        raise AssertionError(f"the run never ends: {self.recorded}")

    def _create(self, launch: Launch) -> None:
        self.jobs.append(launch)
        job_name = f"job-of-{launch.attempts[0][0]}"
        self.made.add(job_name)
        for name, number in launch.attempts:
            assert self.recorded[name].state not in {*ENDED, *ACTIVE}, f"{name} starts twice"
            needed = dependencies_of(self._step(name)) - {other for other, _ in launch.attempts}
            assert all(self.recorded[other].state == "Succeeded" for other in needed)
            self.seen[name] = AttemptObservation(name, number, Phase.WAITING, job_name)

    def _advance(self, job: Launch) -> None:
        """Let the next container of a Job's pod start or end; a pod ends with its first failure."""
        for name, number in job.attempts:
            attempt = self.seen[name]
            if attempt.phase == Phase.SUCCEEDED:
                continue
            if attempt.phase == Phase.WAITING:
                assert name not in self.started, f"{name} ran twice"
                assert all(self.seen[other].phase == Phase.SUCCEEDED for other in dependencies_of(self._step(name)))
                self.started.append(name)
                self.seen[name] = self._changed(attempt, Phase.RUNNING)
                return
            failed = name in self.doomed
            self.seen[name] = self._changed(attempt, Phase.FAILED if failed else Phase.SUCCEEDED)
            if failed:
                self._leave(job, [other for other, _ in job.attempts[job.attempts.index((name, number)) + 1 :]])
            elif (name, number) == job.attempts[-1]:
                self._leave(job, [])
            return

    def _leave(self, job: Launch, unattempted: list[str]) -> None:
        self.jobs.remove(job)
        for name in unattempted:
            del self.seen[name]

    def _changed(self, attempt: AttemptObservation, phase: Phase) -> AttemptObservation:
        results = dict.fromkeys(results_of(self._step(attempt.step)), "1") if phase == Phase.SUCCEEDED else {}
        return AttemptObservation(attempt.step, attempt.number, phase, attempt.job_name, results=results)

    def _step(self, name: str):
        return next(one for one in self.spec.steps if one.name == name)


@given(runs(), st.sets(st.sampled_from([f"s{index}" for index in range(8)]), max_size=3), st.integers(0, 2**16))
def test_every_run_ends_in_order_with_nothing_run_twice_and_alike_on_every_orchestrator(
    spec: PipelineRunSpec, doomed: set[str], seed: int
):
    ends = [
        Simulation(spec, scheduler, doomed, Random(seed)).run()  # noqa: S311 - a simulation
        for scheduler in (OneJobPerStep(3), one_pod(spec))
    ]

    assert ends[0] == ends[1]
    assert set(ends[0].values()) <= ENDED
    assert {name for name, state in ends[0].items() if state == "Failed"} <= doomed
