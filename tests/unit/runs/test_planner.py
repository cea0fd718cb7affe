from __future__ import annotations

import pytest

from cairn.api.pipelinerun_status import StepStatus
from cairn.runs.observation import AttemptObservation, KeptArtifact, Phase
from cairn.runs.planner import Observed, Outcome, Plan, Refusal, plan
from cairn.runs.scheduling import OneJobPerStep
from tests.unit.builders import LATER, NOW, outputs, run_spec, step

CHAIN = (step("load"), step("train", dependsOn=["load"]), step("report", dependsOn=["train"]))
JOBS = OneJobPerStep(10)


def seen(name: str, phase: Phase, number: int = 1, **fields: object) -> AttemptObservation:
    return AttemptObservation(name, number, phase, f"wine-1-{name}-{number}", f"pod-of-{name}", **fields)  # type: ignore[arg-type]


def observed(
    *attempts: AttemptObservation,
    recorded: tuple[StepStatus, ...] = (),
    refusals: dict[str, Refusal] | None = None,
    jobs: tuple[str, ...] = (),
) -> Observed:
    return Observed(
        {status.name: status for status in recorded},
        {attempt.step: attempt for attempt in attempts},
        frozenset({*jobs, *(attempt.job_name for attempt in attempts)}),
        refusals or {},
    )


def starts(planned: Plan) -> list[tuple[str, int]]:
    return [attempt for launch in planned.launches for attempt in launch.attempts]


def states(planned: Plan) -> dict[str, str]:
    return {status.name: status.state for status in planned.steps}


def status(name: str, state: str, **fields: object) -> StepStatus:
    return StepStatus.model_validate({"name": name, "state": state, **fields})


class TestStates:
    def test_a_new_run_starts_what_needs_nothing(self):
        planned = plan(run_spec(*CHAIN), observed(), JOBS)

        assert starts(planned) == [("load", 1)]
        assert states(planned) == {"load": "Pending", "train": "Pending", "report": "Pending"}

    @pytest.mark.parametrize(
        ("phase", "state"),
        [
            (Phase.WAITING, "Queued"),
            (Phase.RUNNING, "Running"),
            (Phase.SUCCEEDED, "Succeeded"),
            (Phase.FAILED, "Failed"),
        ],
    )
    def test_a_step_is_in_the_state_of_its_attempt(self, phase: Phase, state: str):
        assert states(plan(run_spec(*CHAIN), observed(seen("load", phase)), JOBS))["load"] == state

    def test_a_step_starts_once_what_it_needs_has_succeeded(self):
        planned = plan(run_spec(*CHAIN), observed(seen("load", Phase.SUCCEEDED)), JOBS)

        assert starts(planned) == [("train", 1)]

    def test_what_an_attempt_shows_is_recorded(self):
        attempt = seen(
            "load",
            Phase.SUCCEEDED,
            started=NOW,
            ended=LATER,
            artifacts={"data": KeptArtifact("s3://b/k", "sha256:1", 7)},
            results={"rows": "3"},
        )

        (load,) = plan(run_spec(step("load", outputs=outputs("data", results=["rows"]))), observed(attempt), JOBS).steps

        assert load.to_json() == {
            "name": "load",
            "state": "Succeeded",
            "attempts": 1,
            "startTime": NOW,
            "completionTime": LATER,
            "jobName": "wine-1-load-1",
            "podName": "pod-of-load",
            "artifacts": [{"name": "data", "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 7}],
            "results": [{"name": "rows", "value": "3"}],
        }

    def test_what_has_ended_never_changes_again(self):
        recorded = status("load", "Succeeded", attempts=1)

        planned = plan(run_spec(*CHAIN), observed(seen("load", Phase.FAILED), recorded=(recorded,)), JOBS)

        assert planned.steps[0] == recorded

    def test_everything_behind_a_failure_is_skipped(self):
        planned = plan(run_spec(*CHAIN, step("free")), observed(seen("load", Phase.FAILED, reason="ExitCode")), JOBS)

        assert states(planned) == {"load": "Failed", "train": "Skipped", "report": "Skipped", "free": "Pending"}
        assert starts(planned) == [("free", 1)]
        assert planned.steps[1].message == "Step load, which it needs, failed."
        assert planned.steps[2].message == "Step train, which it needs, was skipped."

    def test_a_step_that_runs_and_whose_pod_vanishes_has_failed(self):
        running = status("train", "Running", attempts=1, jobName="wine-1-load-1")

        planned = plan(run_spec(step("train")), observed(recorded=(running,), jobs=("wine-1-load-1",)), JOBS)

        assert (planned.steps[0].state, planned.steps[0].reason) == ("Failed", "PodDeleted")

    @pytest.mark.parametrize("state", ["Queued", "Running"])
    def test_a_step_whose_job_vanishes_has_failed(self, state: str):
        running = status("load", state, attempts=1, jobName="wine-1-load-1")

        planned = plan(run_spec(*CHAIN), observed(recorded=(running,)), JOBS)

        assert planned.steps[0].reason == "JobDeleted"
        assert "wine-1-load-1" in str(planned.steps[0].message)

    def test_a_step_whose_turn_never_came_starts_anew(self):
        queued = status("load", "Queued", attempts=1, jobName="wine-1-other-1")

        assert starts(plan(run_spec(*CHAIN), observed(recorded=(queued,), jobs=("wine-1-other-1",)), JOBS)) == [
            ("load", 1)
        ]

    def test_a_refused_attempt_says_why_and_is_tried_again(self):
        refusals = {"load": Refusal("Forbidden", "exceeded quota: pods")}

        planned = plan(run_spec(*CHAIN), observed(refusals=refusals), JOBS)

        assert (planned.steps[0].state, planned.steps[0].reason) == ("Pending", "Forbidden")
        assert planned.outcome.message == "Step load waits: Forbidden: exceeded quota: pods"
        assert starts(planned) == [("load", 1)]

    def test_a_run_of_which_nothing_runs_and_something_waits_is_pending(self):
        waits = seen("load", Phase.WAITING, reason="ErrImagePull", message="no such image")

        alone = plan(run_spec(*CHAIN), observed(waits), JOBS).outcome
        beside = plan(run_spec(*CHAIN, step("free")), observed(waits, seen("free", Phase.RUNNING)), JOBS).outcome

        assert (alone.reason, beside.reason) == ("Pending", "Running")
        assert alone.message == beside.message == "Step load waits: ErrImagePull: no such image"


class TestWhatHolds:
    def test_a_suspended_run_starts_nothing(self):
        planned = plan(run_spec(*CHAIN, suspend=True), observed(), JOBS)

        assert planned.launches == ()
        assert planned.outcome.reason == "Suspended"

    def test_what_runs_goes_on_while_a_run_is_suspended(self):
        planned = plan(run_spec(*CHAIN, suspend=True), observed(seen("load", Phase.RUNNING)), JOBS)

        assert (planned.outcome.reason, states(planned)["load"]) == ("Running", "Running")

    def test_a_stack_that_cannot_be_used_holds_the_run(self):
        planned = plan(run_spec(*CHAIN), observed(seen("load", Phase.SUCCEEDED)), None, "Stack ml/x is not Ready")

        assert planned.launches == ()
        assert planned.outcome == Outcome("Unknown", "StackNotReady", "Stack ml/x is not Ready")

    def test_what_runs_goes_on_while_the_stack_is_broken(self):
        planned = plan(run_spec(*CHAIN), observed(seen("load", Phase.RUNNING)), None, "Stack ml/x is not Ready")

        assert planned.outcome.reason == "Running"

    def test_a_run_may_end_on_a_broken_stack(self):
        planned = plan(run_spec(step("load")), observed(seen("load", Phase.SUCCEEDED)), None, "Stack ml/x is gone")

        assert planned.outcome.reason == "Completed"


class TestOutcome:
    def test_completed(self):
        planned = plan(run_spec(step("load")), observed(seen("load", Phase.SUCCEEDED)), JOBS)

        assert planned.outcome == Outcome("True", "Completed", "The step succeeded.")
        assert planned.outcome.finished

    def test_failed_with_the_first_failure_s_cause(self):
        attempt = seen("load", Phase.FAILED, reason="OOMKilled", message="Too much.")

        planned = plan(run_spec(step("load")), observed(attempt), JOBS)

        assert planned.outcome == Outcome("False", "StepFailed", "Step load failed: OOMKilled: Too much.")

    def test_failed_with_the_number_of_other_failures(self):
        attempts = [seen(name, Phase.FAILED, reason="ExitCode", message="No.") for name in ("a", "b", "c")]

        planned = plan(run_spec(step("a"), step("b"), step("c")), observed(*attempts), JOBS)

        assert planned.outcome.message.endswith("2 other steps failed too.")

    def test_going_on_after_a_failure(self):
        attempts = [seen("load", Phase.FAILED, reason="ExitCode"), seen("free", Phase.RUNNING)]

        planned = plan(run_spec(*CHAIN, step("free")), observed(*attempts), JOBS)

        assert planned.outcome == Outcome("Unknown", "Running", "Step load failed: ExitCode; independent steps go on.")

    def test_running(self):
        planned = plan(run_spec(*CHAIN), observed(seen("load", Phase.RUNNING)), JOBS)

        assert planned.outcome.message == "Steps under way: load."
        assert not planned.outcome.finished

    def test_running_many(self):
        steps = [step(f"s{index}") for index in range(7)]

        planned = plan(run_spec(*steps), observed(*(seen(one.name, Phase.RUNNING) for one in steps)), JOBS)

        assert planned.outcome.message == "Steps under way: s0, s1, s2, s3, s4 and 2 more."

    def test_a_step_that_cannot_start_is_told(self):
        attempt = seen("load", Phase.WAITING, reason="ErrImagePull", message="manifest unknown")

        planned = plan(run_spec(*CHAIN), observed(attempt), JOBS)

        assert planned.outcome.message == "Step load waits: ErrImagePull: manifest unknown"


def test_planning_again_what_was_planned_changes_nothing():
    spec = run_spec(*CHAIN)
    attempts = [seen("load", Phase.SUCCEEDED), seen("train", Phase.RUNNING)]
    first = plan(spec, observed(*attempts), JOBS)

    again = plan(spec, observed(*attempts, recorded=first.steps), JOBS)

    assert again == first
    assert again.launches == ()


def test_a_finished_run_starts_nothing_whatever_is_seen():
    spec = run_spec(*CHAIN)
    ended = tuple(status(one.name, "Succeeded", attempts=1) for one in CHAIN)

    planned = plan(spec, observed(recorded=ended), JOBS)

    assert planned.launches == ()
    assert planned.outcome.reason == "Completed"
