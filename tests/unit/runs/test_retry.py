from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Retry
from cairn.api.time import parse, timestamp
from cairn.runs.observation import Fault
from cairn.runs.retry import after_end, backoff_seconds, next_attempt, without_latest_attempt
from tests.unit.builders import EARLIER, LATER, MOMENT, NOW, after, step, step_status

ON_FAILURE = step("train", retry={"limit": 2, "backoffSeconds": 5})
ALWAYS = step("train", retry={"limit": 2, "on": "Always", "backoffSeconds": 5})


def ended(**fields: object) -> StepStatus:
    """Return the status with an attempt that has not succeeded."""
    told = {"attempts": 1, "reason": "ExitCode", "message": "No.", "exitCode": 3, "completionTime": NOW}
    return step_status("train", "Running", **{**told, **fields})


class TestWhetherThereIsAnother:
    def test_a_step_without_retry_has_failed_with_its_first_failure(self):
        status = after_end(step("train"), ended(), Fault.STEP, MOMENT)

        assert (status.state, status.retries_used, status.next_attempt_time) == ("Failed", 0, None)

    def test_a_failure_is_charged(self):
        status = after_end(ON_FAILURE, ended(), Fault.STEP, MOMENT)

        assert (status.state, status.retries_used, status.disruptions) == ("Retrying", 1, 0)

    def test_a_step_has_failed_when_its_limit_is_used_up(self):
        status = after_end(ON_FAILURE, ended(attempts=3, retriesUsed=2), Fault.STEP, MOMENT)

        assert (status.state, status.retries_used) == ("Failed", 2)

    def test_a_disruption_is_not_charged(self):
        status = after_end(step("train"), ended(), Fault.DISRUPTION, MOMENT)

        assert (status.state, status.retries_used, status.disruptions) == ("Retrying", 0, 1)

    def test_a_disruption_is_tried_again_when_the_limit_of_retries_is_used_up(self):
        status = after_end(ON_FAILURE, ended(attempts=3, retriesUsed=2), Fault.DISRUPTION, MOMENT)

        assert (status.state, status.retries_used, status.disruptions) == ("Retrying", 2, 1)

    def test_a_failure_is_tried_again_when_the_limit_of_disruptions_is_used_up(self):
        status = after_end(ON_FAILURE, ended(attempts=11, disruptions=10), Fault.STEP, MOMENT)

        assert (status.state, status.retries_used, status.disruptions) == ("Retrying", 1, 10)

    @pytest.mark.parametrize(("before", "state"), [(9, "Retrying"), (10, "Failed")])
    def test_disruptions_have_a_limit_of_ten(self, before: int, state: str):
        status = after_end(step("train"), ended(disruptions=before), Fault.DISRUPTION, MOMENT)

        assert status.state == state

    def test_the_limit_of_disruptions_can_be_set(self):
        never = step("train", retry={"disruptionLimit": 0})

        assert after_end(never, ended(), Fault.DISRUPTION, MOMENT).state == "Failed"

    def test_on_failure_what_the_step_needs_is_not_tried_again(self):
        assert after_end(ON_FAILURE, ended(), Fault.SURROUNDINGS, MOMENT).state == "Failed"

    def test_always_what_the_step_needs_is_tried_again_and_charged(self):
        status = after_end(ALWAYS, ended(), Fault.SURROUNDINGS, MOMENT)

        assert (status.state, status.retries_used, status.disruptions) == ("Retrying", 1, 0)

    def test_always_has_the_same_limit(self):
        assert after_end(ALWAYS, ended(retriesUsed=2), Fault.SURROUNDINGS, MOMENT).state == "Failed"

    @pytest.mark.parametrize("fault", list(Fault))
    def test_the_cause_is_kept_either_way(self, fault: Fault):
        status = after_end(ON_FAILURE, ended(), fault, MOMENT)

        assert (status.reason, status.message, status.exit_code, status.completion_time) == ("ExitCode", "No.", 3, NOW)


class TestWhen:
    def test_the_next_attempt_is_made_after_the_backoff_never_sooner(self):
        status = after_end(ON_FAILURE, ended(), Fault.STEP, after(0.9))

        assert parse(status.next_attempt_time or "") >= after(0.9 + 5)

    def test_without_a_backoff_it_is_made_at_once(self):
        at_once = step("train", retry={"limit": 1, "backoffSeconds": 0})

        assert after_end(at_once, ended(), Fault.STEP, MOMENT).next_attempt_time == NOW

    @pytest.mark.parametrize(("earlier", "seconds"), [(0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (50, 60)])
    def test_the_backoff_grows_by_its_factor_up_to_its_maximum(self, earlier: int, seconds: int):
        assert backoff_seconds(Retry(backoff_seconds=5, backoff_factor=2, max_backoff_seconds=60), earlier) == seconds

    def test_with_a_factor_of_one_it_stays_the_same(self):
        assert backoff_seconds(Retry(backoff_seconds=7, backoff_factor=1), 9) == 7

    def test_disruptions_make_it_grow_too(self):
        first = after_end(ON_FAILURE, ended(), Fault.DISRUPTION, MOMENT)
        fourth = after_end(ON_FAILURE, ended(retriesUsed=1, disruptions=2), Fault.DISRUPTION, MOMENT)

        assert first.next_attempt_time == timestamp(after(5 + 1))
        assert fourth.next_attempt_time == timestamp(after(40 + 1))


class TestNextAttempt:
    RETRYING = step_status(
        "train",
        "Retrying",
        attempts=1,
        retriesUsed=1,
        reason="ExitCode",
        message="Step train ended with exit code 3.",
        exitCode=3,
        startTime=EARLIER,
        completionTime=NOW,
        nextAttemptTime=LATER,
        jobName="wine-1-train-1",
        podName="wine-1-train-1-x7k2p",
        logTail="ValueError",
    )

    def test_the_first_one_is_queued(self):
        status = next_attempt(step_status("train", "Pending"), 1, MOMENT)

        assert status == step_status("train", "Queued", attempts=1, queuedTime=NOW)

    def test_nothing_of_the_last_one_is_left_but_its_record(self):
        record = {
            "number": 1,
            "reason": "ExitCode",
            "message": "Step train ended with exit code 3.",
            "exitCode": 3,
            "charged": True,
            "startTime": EARLIER,
            "completionTime": NOW,
            "jobName": "wine-1-train-1",
            "podName": "wine-1-train-1-x7k2p",
        }

        assert next_attempt(self.RETRYING, 2, MOMENT) == step_status(
            "train", "Queued", attempts=2, retriesUsed=1, queuedTime=NOW, previousAttempts=[record]
        )

    def test_records_are_kept_oldest_first_and_tell_what_was_charged(self):
        status = step_status("train", "Pending")
        for number, fault in enumerate([Fault.DISRUPTION, Fault.STEP, Fault.DISRUPTION, Fault.STEP], 1):
            begun = next_attempt(status, number, MOMENT)
            status = after_end(ON_FAILURE, begun.model_copy(update={"reason": fault.value}), fault, MOMENT)

        records = next_attempt(status, 5, MOMENT).previous_attempts or ()

        assert [(item.number, item.reason, item.charged) for item in records] == [
            (1, "Disruption", False),
            (2, "Step", True),
            (3, "Disruption", False),
            (4, "Step", True),
        ]

    def test_a_record_s_message_is_short(self):
        long = self.RETRYING.model_copy(update={"message": "x" * 1024})

        records = next_attempt(long, 2, MOMENT).previous_attempts or ()

        assert [len(record.message or "") for record in records] == [256]

    def test_an_attempt_that_is_not_made_after_all_leaves_a_first_step_pending(self):
        begun = next_attempt(step_status("train", "Pending"), 1, MOMENT)

        assert without_latest_attempt(begun) == step_status("train", "Pending")

    def test_an_attempt_that_is_not_made_after_all_leaves_what_became_of_the_last_one(self):
        status = without_latest_attempt(next_attempt(self.RETRYING, 2, MOMENT))

        assert (status.state, status.attempts, status.previous_attempts) == ("Retrying", 1, None)
        assert (status.reason, status.exit_code, status.retries_used) == ("ExitCode", 3, 1)


policies = st.builds(
    Retry,
    limit=st.integers(0, 10),
    backoff_seconds=st.integers(0, 3600),
    backoff_factor=st.integers(1, 10),
    max_backoff_seconds=st.integers(0, 86400),
    disruption_limit=st.integers(0, 100),
)


@given(policies, st.integers(0, 200))
def test_the_backoff_never_decreases_and_is_never_above_its_maximum(policy: Retry, earlier: int):
    backoff, following = backoff_seconds(policy, earlier), backoff_seconds(policy, earlier + 1)

    assert 0 <= backoff <= following <= policy.max_backoff_seconds


@given(policies, st.lists(st.sampled_from([Fault.STEP, Fault.SURROUNDINGS, Fault.DISRUPTION]), max_size=120))
def test_no_more_attempts_are_made_than_the_two_limits_allow(policy: Retry, faults: list[Fault]):
    one, status, number = step("train", retry=policy), step_status("train", "Pending"), 0
    for fault in faults:
        number += 1
        status = after_end(one, next_attempt(status, number, MOMENT), fault, MOMENT)
        if status.state == "Failed":
            break

    assert status.retries_used <= policy.limit
    assert status.disruptions <= policy.disruption_limit
    assert number <= 1 + policy.limit + policy.disruption_limit


@given(st.lists(st.sampled_from([Fault.STEP, Fault.DISRUPTION]), min_size=1, max_size=6))
def test_taking_the_next_attempt_back_gives_the_status_as_it_was(faults: list[Fault]):
    patient, status = step("train", retry={"limit": 10}), step_status("train", "Pending")
    for number, fault in enumerate(faults, 1):
        told = {"reason": fault.value, "message": f"Attempt {number}.", "job_name": f"wine-1-train-{number}"}
        begun = next_attempt(status, number, MOMENT).model_copy(update=told)
        status = after_end(patient, begun, fault, MOMENT)

    taken_back = without_latest_attempt(next_attempt(status, len(faults) + 1, MOMENT))

    of_the_wait = {"next_attempt_time": None, "queued_time": None}
    assert taken_back == status.model_copy(update=of_the_wait)
