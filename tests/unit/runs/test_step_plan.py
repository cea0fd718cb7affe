from __future__ import annotations

from datetime import timedelta

import pytest

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.api.time import timestamp
from cairn.runs.observation import AttemptObservation, Fault, KeptArtifact, Phase
from cairn.runs.readiness import Settled
from cairn.runs.retry import next_attempt
from cairn.runs.step_plan import Refusal, Situation, advance, is_over, pending_deadline, running_deadline
from cairn.runs.stopping import Halt
from tests.unit.builders import LATER, MOMENT, NOW, after, outputs, seen, seen_failed, step, step_status
from tests.unit.runs.train_step import CANCELLED, PENDING, QUEUED, RETRYING, RUNNING, TRAIN


def advanced(
    recorded: StepStatus,
    attempt: AttemptObservation | None = None,
    *,
    one: Step = TRAIN,
    halt: Halt | None = None,
    starts: bool = True,
    refusal: Refusal | None = None,
    settled: Settled | None = None,
    seconds: float = 0,
) -> StepStatus:
    return advance(one, recorded, Situation(after(seconds), halt, starts, attempt, refusal, settled))


class TestUnderWay:
    @pytest.mark.parametrize(
        ("phase", "state"), [(Phase.WAITING, "Queued"), (Phase.RUNNING, "Running"), (Phase.SUCCEEDED, "Succeeded")]
    )
    def test_a_step_is_in_the_state_of_its_attempt(self, phase: Phase, state: str):
        assert advanced(QUEUED, seen("train", phase)).state == state

    def test_what_an_attempt_shows_is_recorded(self):
        one = step("train", outputs=outputs("model", results=["rows"]))
        attempt = seen(
            "train",
            Phase.SUCCEEDED,
            started=NOW,
            ended=LATER,
            artifacts={"model": KeptArtifact("s3://b/k", "sha256:1", 7)},
            results={"rows": "3"},
        )

        assert advanced(QUEUED, attempt, one=one) == step_status(
            "train",
            "Succeeded",
            attempts=1,
            queuedTime=NOW,
            startTime=NOW,
            completionTime=LATER,
            jobName="wine-1-train-1",
            podName="pod-of-wine-1-train-1",
            artifacts=[{"name": "model", "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 7}],
            results=[{"name": "rows", "value": "3"}],
        )

    @pytest.mark.parametrize("state", ["Succeeded", "Failed", "Skipped", "Cancelled"])
    def test_what_has_ended_never_changes_again(self, state: str):
        recorded = step_status("train", state, attempts=1)

        assert advanced(recorded, seen("train", Phase.RUNNING), halt=CANCELLED) is recorded

    def test_a_queued_step_costs_no_write_for_the_names_of_its_job_and_pod(self):
        assert advanced(QUEUED, seen("train", Phase.WAITING)) is QUEUED

    def test_what_a_queued_step_waits_for_is_told(self):
        status = advanced(QUEUED, seen("train", Phase.WAITING, reason="ErrImagePull", message="no such image"))

        assert (status.state, status.reason, status.message) == ("Queued", "ErrImagePull", "no such image")
        assert status.job_name == "wine-1-train-1"

    def test_what_it_waited_for_is_told_no_more_when_that_has_come(self):
        waited = QUEUED.model_copy(update={"reason": "ErrImagePull", "message": "no such image"})

        status = advanced(waited, seen("train", Phase.WAITING))

        assert (status.state, status.reason, status.message) == ("Queued", None, None)

    def test_a_step_that_runs_does_not_wait_again(self):
        status = advanced(RUNNING, seen("train", Phase.WAITING, pod_name=None))

        assert (status.state, status.start_time) == ("Running", NOW)

    def test_an_attempt_before_the_recorded_one_says_nothing(self):
        second = step_status("train", "Queued", attempts=2, queuedTime=NOW)

        assert advanced(second, seen_failed("train", Fault.STEP, number=1)) is second

    def test_the_end_of_an_attempt_is_judged_once(self):
        assert advanced(RETRYING, seen_failed("train", Fault.STEP)) is RETRYING


class TestTurnsInASharedPod:
    def test_a_step_whose_turn_has_come_is_pending_until_something_happens(self):
        assert advanced(PENDING, seen("train", Phase.WAITING)) is PENDING

    def test_it_is_queued_when_something_hinders_it(self):
        status = advanced(PENDING, seen("train", Phase.WAITING, reason="ErrImagePull", message="no such image"))

        assert (status.state, status.attempts, status.reason) == ("Queued", 1, "ErrImagePull")
        assert status.queued_time == NOW

    def test_it_runs_when_its_container_does(self):
        status = advanced(PENDING, seen("train", Phase.RUNNING, started=NOW))

        assert (status.state, status.attempts, status.start_time) == ("Running", 1, NOW)

    def test_the_end_of_its_last_attempt_is_recorded_when_the_next_one_is_seen(self):
        status = advanced(RETRYING, seen("train", Phase.RUNNING, number=2))

        assert (status.state, status.attempts) == ("Running", 2)
        assert [(item.number, item.reason) for item in status.previous_attempts or ()] == [(1, "ExitCode")]


class TestAfterAFailure:
    def test_a_step_with_retries_left_is_tried_again(self):
        status = advanced(RUNNING, seen_failed("train", Fault.STEP, exit_code=3, ended=NOW))

        assert (status.state, status.retries_used, status.reason, status.exit_code) == ("Retrying", 1, "ExitCode", 3)
        assert status.next_attempt_time == timestamp(after(6))

    def test_a_step_without_retries_has_failed(self):
        status = advanced(RUNNING, seen_failed("train", Fault.STEP, ended=LATER), one=step("train"))

        assert (status.state, status.completion_time) == ("Failed", LATER)

    def test_a_disruption_is_not_charged(self):
        status = advanced(RUNNING, seen_failed("train", Fault.DISRUPTION), one=step("train"))

        assert (status.state, status.retries_used, status.disruptions) == ("Retrying", 0, 1)

    def test_an_end_of_which_no_time_is_known_is_now(self):
        assert advanced(RUNNING, seen_failed("train", Fault.DISRUPTION)).completion_time == NOW

    def test_a_step_whose_end_was_missed_is_judged_at_once(self):
        status = advanced(QUEUED, seen_failed("train", Fault.STEP, started=NOW, ended=LATER), one=step("train"))

        assert (status.state, status.start_time, status.completion_time) == ("Failed", NOW, LATER)


class TestUnobserved:
    def test_an_attempt_that_was_not_made_yet_stays_recorded(self):
        assert advanced(QUEUED) is QUEUED

    def test_a_refused_attempt_says_why(self):
        status = advanced(QUEUED, refusal=Refusal("Forbidden", "exceeded quota: jobs"))

        assert (status.state, status.attempts) == ("Queued", 1)
        assert (status.reason, status.message) == ("Forbidden", "exceeded quota: jobs")

    def test_an_attempt_that_is_refused_for_good_fails_the_step_whatever_its_retries(self):
        always = step("train", retry={"limit": 5, "on": "Always"})

        status = advanced(QUEUED, one=always, refusal=Refusal("InvalidSpec", "It cannot be.", final=True))

        assert (status.state, status.reason, status.message) == ("Failed", "InvalidSpec", "It cannot be.")

    def test_a_job_that_vanishes_is_a_disruption(self):
        status = advanced(RUNNING)

        assert (status.state, status.reason, status.disruptions) == ("Retrying", "JobDeleted", 1)
        assert status.message == "Job wine-1-train-1 was deleted before the step ended."

    def test_an_attempt_that_was_not_made_is_taken_back_while_nothing_starts(self):
        refused = QUEUED.model_copy(update={"reason": "Forbidden", "message": "exceeded quota: jobs"})

        assert advanced(refused, starts=False) == PENDING

    def test_the_wait_for_its_next_attempt_is_not_taken_back_while_nothing_starts(self):
        second = next_attempt(RETRYING, 2, MOMENT)

        status = advanced(second, starts=False)

        assert (status.state, status.attempts, status.reason) == ("Retrying", 1, "ExitCode")

    def test_an_attempt_that_was_made_goes_on_while_nothing_starts(self):
        assert advanced(QUEUED, seen("train", Phase.WAITING), starts=False) is QUEUED

    def test_a_job_that_vanishes_while_nothing_starts_is_a_disruption_too(self):
        assert advanced(RUNNING, starts=False).reason == "JobDeleted"

    def test_a_step_that_waits_for_its_next_attempt_needs_no_job(self):
        assert advanced(RETRYING) is RETRYING


class TestSettledWithoutAttempt:
    SETTLED = Settled("Skipped", "WhenFalse", "Its when is false.")

    def test_a_step_that_has_not_begun_ends_so(self):
        status = advanced(PENDING, settled=self.SETTLED)

        assert (status.state, status.reason, status.message) == ("Skipped", "WhenFalse", "Its when is false.")

    def test_what_waits_for_its_next_attempt_is_not_asked_again(self):
        assert advanced(RETRYING, settled=self.SETTLED) == RETRYING


class TestPendingTimeout:
    ONE = step("train", pendingTimeoutSeconds=60)
    ALWAYS = step("train", pendingTimeoutSeconds=60, retry={"limit": 1, "on": "Always"})

    def test_the_deadline_is_never_sooner_than_the_timeout_after_the_decision(self):
        assert pending_deadline(self.ONE, QUEUED) == after(61)

    def test_only_what_is_queued_has_one(self):
        assert pending_deadline(self.ONE, RUNNING) is None
        assert pending_deadline(self.ONE, PENDING) is None

    def test_it_is_ten_minutes_unless_set(self):
        assert pending_deadline(step("train"), QUEUED) == after(601)

    def test_the_time_in_which_inputs_are_fetched_does_not_count(self):
        fetches = seen("train", Phase.WAITING, fetching=True)
        has_fetched = seen("train", Phase.WAITING, fetched_for=timedelta(seconds=900))

        assert pending_deadline(self.ONE, QUEUED, fetches) is None
        assert pending_deadline(self.ONE, QUEUED, has_fetched) == after(961)

    def test_it_counts_from_the_making_of_the_pod(self):
        late = seen("train", Phase.WAITING, pod_created=timestamp(after(500)))
        of_an_earlier_step = seen("train", Phase.WAITING, pod_created=timestamp(after(-500)))

        assert pending_deadline(self.ONE, QUEUED, late) == after(561)
        assert pending_deadline(self.ONE, QUEUED, of_an_earlier_step) == after(61)

    def test_a_job_whose_pod_is_only_not_made_yet_is_waited_for_and_that_is_told(self):
        attempt = seen("train", Phase.WAITING, wants_pod=True)

        before, status = (advanced(QUEUED, attempt, one=self.ONE, seconds=seconds) for seconds in (60, 1000))

        assert before.reason is None
        assert (status.state, status.reason) == ("Queued", "PodNotCreated")
        assert "Job wine-1-train-1" in str(status.message)

    def test_one_whose_pod_cannot_be_made_is_not(self):
        attempt = seen("train", Phase.WAITING, wants_pod=True, reason="FailedCreate", message="exceeded quota")

        status = advanced(QUEUED, attempt, one=self.ONE, seconds=61)

        assert (status.state, status.reason) == ("Failed", "FailedCreate")

    def test_what_keeps_the_outputs_has_as_long_from_the_step_s_own_end(self):
        attempt = seen(
            "train",
            Phase.RUNNING,
            started=NOW,
            reason="CreateContainerConfigError",
            message='secret "s3" not found',
            kept_up_since=NOW,
        )

        waits, failed = (advanced(RUNNING, attempt, one=self.ONE, seconds=seconds) for seconds in (60, 61))

        assert (waits.state, failed.state, failed.reason) == ("Running", "Failed", "CreateContainerConfigError")
        assert failed.message == (
            'Its outputs could not be kept within its pendingTimeoutSeconds (60): secret "s3" not found'
        )

    def test_before_it_the_step_waits(self):
        status = advanced(QUEUED, seen("train", Phase.WAITING, reason="Unschedulable"), one=self.ONE, seconds=60)

        assert (status.state, status.reason) == ("Queued", "Unschedulable")

    def test_it_fails_with_what_the_step_waited_for(self):
        waits = seen("train", Phase.WAITING, reason="ErrImagePull", message="no such image")

        status = advanced(QUEUED, waits, one=self.ONE, seconds=61)

        assert (status.state, status.reason) == ("Failed", "ErrImagePull")
        assert status.message == "It could not start within its pendingTimeoutSeconds (60): no such image"
        assert status.completion_time == timestamp(after(61))

    def test_what_hindered_the_making_of_its_job_is_the_cause_too(self):
        refusal = Refusal("Forbidden", "exceeded quota: jobs")

        status = advanced(QUEUED, one=self.ONE, refusal=refusal, seconds=61)

        assert (status.state, status.reason) == ("Failed", "Forbidden")
        assert str(status.message).endswith("exceeded quota: jobs")

    def test_where_no_cause_is_known_the_time_is_the_cause(self):
        status = advanced(QUEUED, seen("train", Phase.WAITING), one=self.ONE, seconds=61)

        assert (status.state, status.reason) == ("Failed", "PendingTimeout")
        assert status.message == "It could not start within its pendingTimeoutSeconds (60)."

    def test_it_is_not_tried_again_on_failure(self):
        one = step("train", pendingTimeoutSeconds=60, retry={"limit": 1})

        assert advanced(QUEUED, seen("train", Phase.WAITING), one=one, seconds=61).state == "Failed"

    def test_it_is_tried_again_always(self):
        status = advanced(QUEUED, seen("train", Phase.WAITING), one=self.ALWAYS, seconds=61)

        assert (status.state, status.retries_used) == ("Retrying", 1)

    def test_a_cause_of_any_length_fits(self):
        waits = seen("train", Phase.WAITING, reason="ErrImagePull", message="x" * 1024)

        assert len(str(advanced(QUEUED, waits, one=self.ONE, seconds=61).message)) == 1024


class TestAttemptTimeout:
    ONE = step("train", timeoutSeconds=60)
    BEING_STOPPED = RUNNING.model_copy(update={"reason": "DeadlineExceeded", "message": "It is being stopped."})

    def test_the_deadline_is_never_sooner_than_the_timeout_after_the_container_s_start(self):
        assert running_deadline(self.ONE, RUNNING) == after(61)

    def test_only_what_runs_has_one(self):
        assert running_deadline(self.ONE, QUEUED) is None
        assert running_deadline(step("train"), RUNNING) is None

    def test_before_it_the_step_runs(self):
        assert advanced(RUNNING, seen("train", Phase.RUNNING), one=self.ONE, seconds=60).reason is None

    def test_at_it_the_step_is_being_stopped(self):
        status = advanced(RUNNING, seen("train", Phase.RUNNING), one=self.ONE, seconds=61)

        assert (status.state, status.reason) == ("Running", "DeadlineExceeded")
        assert status.message == "It has run for longer than its timeoutSeconds (60) and is being stopped."

    def test_that_is_not_taken_back_though_the_clock_is_set_back(self):
        status = advanced(self.BEING_STOPPED, seen("train", Phase.RUNNING), one=self.ONE, seconds=-3600)

        assert (status.state, status.reason) == ("Running", "DeadlineExceeded")

    @pytest.mark.parametrize("fault", [Fault.STOPPED, Fault.DISRUPTION])
    def test_it_has_failed_once_it_was_stopped(self, fault: Fault):
        status = advanced(self.BEING_STOPPED, seen_failed("train", fault), one=self.ONE)

        assert (status.state, status.reason, status.disruptions) == ("Failed", "DeadlineExceeded", 0)
        assert status.message == "It ran for longer than its timeoutSeconds (60) and was stopped."

    def test_it_is_charged_and_tried_again_like_any_failure(self):
        one = step("train", timeoutSeconds=60, retry={"limit": 1})

        status = advanced(self.BEING_STOPPED, seen_failed("train", Fault.STOPPED), one=one)

        assert (status.state, status.reason, status.retries_used) == ("Retrying", "DeadlineExceeded", 1)

    def test_it_has_failed_too_when_its_job_is_gone(self):
        status = advanced(self.BEING_STOPPED, one=self.ONE)

        assert (status.state, status.reason) == ("Failed", "DeadlineExceeded")

    def test_a_step_that_failed_by_itself_before_it_was_stopped_keeps_its_own_cause(self):
        status = advanced(self.BEING_STOPPED, seen_failed("train", Fault.STEP, exit_code=3), one=self.ONE)

        assert (status.state, status.reason, status.exit_code) == ("Failed", "ExitCode", 3)

    def test_a_step_that_succeeded_before_it_was_stopped_has_succeeded(self):
        status = advanced(self.BEING_STOPPED, seen("train", Phase.SUCCEEDED), one=self.ONE)

        assert (status.state, status.reason) == ("Succeeded", None)


class TestIsOver:
    @pytest.mark.parametrize(
        ("status", "number", "over"),
        [
            (PENDING, 1, False),
            (QUEUED, 1, False),
            (RUNNING, 1, False),
            (RETRYING, 1, True),
            (RETRYING, 2, False),
            (step_status("train", "Running", attempts=2), 1, True),
            (step_status("train", "Failed", attempts=1), 1, True),
            (step_status("train", "Skipped"), 1, True),
        ],
    )
    def test_an_attempt_is_over_when_the_status_says_so(self, status: StepStatus, number: int, over: bool):
        assert is_over(status, number) is over


def test_the_same_situation_gives_the_same_status_again():
    attempt = seen("train", Phase.WAITING, reason="ErrImagePull", message="no such image")
    once = advanced(QUEUED, attempt)

    assert advanced(once, attempt, seconds=30) == once
    assert once.queued_time == timestamp(MOMENT)
