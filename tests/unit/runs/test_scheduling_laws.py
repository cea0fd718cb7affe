"""What holds of every run, on each orchestrator, also where the operator is killed between recording and making a Job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.graph import dependencies_of, results_of
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.planner import LIVE, Observed, plan
from cairn.runs.pod import pod_settings, step_template
from cairn.runs.scheduling import Launch, OneJobPerStep, OnePodForAll, Scheduler
from cairn.runs.states import ACTIVE, ENDED
from cairn.runs.step_plan import is_over
from tests.unit.builders import (
    MOMENT,
    NOW,
    inputs,
    local_stack,
    outputs,
    pod_context,
    run_spec,
    run_steps,
    seen,
    step,
    template,
)

Attempt = tuple[str, int]
Place = tuple[Launch, Attempt]


@st.composite
def runs(draw: st.DrawFn) -> RunSpec:
    """A run of up to eight steps: each may wait for, read from or use results of earlier ones, and be tried again."""
    steps: list[Step] = []
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
                retry={"limit": draw(st.integers(0, 2)), "backoffSeconds": draw(st.sampled_from([0, 5]))},
            )
        )
    order = draw(st.permutations(steps))
    return run_spec(*order, maxParallelSteps=draw(st.none() | st.integers(1, 3)))


@dataclass
class Simulation:
    """Jobs that come to an end in random order; some steps fail a few times before they succeed."""

    spec: RunSpec
    scheduler: Scheduler
    failures: dict[str, int]
    """How many attempts of each step fail."""
    random: Random
    now: datetime = MOMENT
    recorded: dict[str, StepStatus] = field(default_factory=dict[str, StepStatus])
    jobs: list[Launch] = field(default_factory=list[Launch])
    """All Jobs: they stay."""
    seen: dict[Place, AttemptObservation] = field(default_factory=dict[Place, AttemptObservation])
    """The attempts whose turn has come."""
    started: set[Attempt] = field(default_factory=set[Attempt])

    def run(self) -> dict[str, str]:
        """Reconcile until the run has finished; return each step's state."""
        for _ in range(500):
            planned = plan(
                run_steps(self.spec, self.recorded),
                Observed(self.recorded, self._observed(), start_time=NOW),
                self.scheduler,
                self.now,
            )
            self.recorded = {status.name: status for status in planned.steps}
            assert planned.stops == ()
            if planned.outcome.finished:
                return {status.name: status.state for status in planned.steps}
            self._check_limit()
            killed = self.random.random() < 0.2
            for launch in () if killed else planned.launches:
                self._create(launch)
            live = [job for job in self.jobs if self._is_live(job)]
            if live:
                self._advance(self.random.choice(live))
            elif not planned.launches:
                assert planned.look_again is not None, f"nothing is ever looked at again: {self.recorded}"
                self.now = planned.look_again
        raise AssertionError(f"the run never ends: {self.recorded}")

    def _observed(self) -> list[AttemptObservation]:
        """Return the attempts of all Jobs but those that have ended and are settled, as `AttemptReader` does."""
        return [
            self.seen[job, attempt]
            for job in self.jobs
            if self._is_live(job) or not all(is_over(self.recorded[name], number) for name, number in job.attempts)
            for attempt in job.attempts
            if (job, attempt) in self.seen
        ]

    def _is_live(self, job: Launch) -> bool:
        return any(place[0] == job and attempt.phase in LIVE for place, attempt in self.seen.items())

    def _check_limit(self) -> None:
        limit = self.spec.max_parallel_steps
        assert limit is None or sum(status.state in ACTIVE for status in self.recorded.values()) <= limit

    def _create(self, launch: Launch) -> None:
        first, number = launch.attempts[0]
        assert all(job.attempts[0] != (first, number) for job in self.jobs), f"the Job of {first} is made twice"
        assert (self.recorded[first].state, self.recorded[first].attempts) == ("Queued", number)
        for name, _ in launch.attempts:
            assert self.recorded[name].state not in ENDED, f"{name} has ended and starts again"
            needed = dependencies_of(self._step(name)) - {other for other, _ in launch.attempts}
            assert all(self.recorded[other].state == "Succeeded" for other in needed)
        self.jobs.append(launch)
        self._turn_comes(launch, launch.attempts[0])

    def _turn_comes(self, job: Launch, attempt: Attempt) -> None:
        first, number = job.attempts[0]
        waits = seen(attempt[0], Phase.WAITING, attempt[1])
        self.seen[job, attempt] = replace(waits, job_name=f"wine-1-{first}-{number}")

    def _advance(self, job: Launch) -> None:
        """Let the container whose turn it is start or end; a pod ends with its first failure."""
        place, attempt = next(item for item in self.seen.items() if item[0][0] == job and item[1].phase in LIVE)
        name, number = place[1]
        if attempt.phase is Phase.WAITING:
            assert (name, number) not in self.started, f"attempt {number} of {name} ran twice"
            self.started.add((name, number))
            self.seen[place] = replace(attempt, phase=Phase.RUNNING)
        elif sum(other == name for other, _ in self.started) <= self.failures.get(name, 0):
            failed = {"fault": Fault.STEP, "reason": "ExitCode", "message": "No."}
            self.seen[place] = replace(attempt, phase=Phase.FAILED, **failed)
        else:
            results = dict.fromkeys(results_of(self._step(name)), "1")
            self.seen[place] = replace(attempt, phase=Phase.SUCCEEDED, results=results)
            following = job.attempts[job.attempts.index((name, number)) + 1 :]
            if following:
                self._turn_comes(job, following[0])

    def _step(self, name: str) -> Step:
        return next(one for one in self.spec.steps if one.name == name)


def orchestrators(spec: RunSpec) -> tuple[Scheduler, Scheduler]:
    context = pod_context(local_stack())
    settings = {one.name: pod_settings(step_template(context, one)) for one in spec.steps}
    return OneJobPerStep(3), OnePodForAll(settings)


@given(
    runs(),
    st.dictionaries(st.sampled_from([f"s{index}" for index in range(8)]), st.integers(1, 3), max_size=4),
    st.integers(0, 2**16),
)
def test_every_run_ends_in_order_with_nothing_run_twice_and_alike_on_every_orchestrator(
    spec: RunSpec, failures: dict[str, int], seed: int
):
    ends = [
        Simulation(spec, scheduler, failures, Random(seed)).run()  # noqa: S311 - a simulation
        for scheduler in orchestrators(spec)
    ]

    limits = {one.name: one.retry.limit if one.retry else 0 for one in spec.steps}
    assert ends[0] == ends[1]
    assert set(ends[0].values()) <= {"Succeeded", "Failed", "Skipped"}
    assert all(failures[name] > limits[name] for name, state in ends[0].items() if state == "Failed")
