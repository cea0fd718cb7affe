"""What is seen of attempts whose pod is stopped, evicted, deleted or lost."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from cairn.api.time import parse
from cairn.runs.observation import Fault, Phase
from cairn.runs.pod_end import EarlierSight
from tests.unit.builders import LATER, NOW, inputs, outputs, step
from tests.unit.pods import PodStory, job_of, observe, observe_one

PLAIN = step("train")
FULL = step("train", inputs=inputs(data="s3://ml-artifacts/raw"), outputs=outputs("model"))
GRACE_OVER = parse(LATER)
LOST = GRACE_OVER + timedelta(seconds=30)
END_TOLD_BY = parse(NOW) + timedelta(seconds=60)
"""The usual grace period, and 30 seconds, after a pod has ended."""
A_MOMENT = timedelta(seconds=1)
DISRUPTIONS = ["Evicted", "NodeLost", "Preempting", "NodeShutdown", "Terminated"]


def plain() -> PodStory:
    return PodStory(job_of(PLAIN)).on_node()


def full() -> PodStory:
    return PodStory(job_of(FULL)).on_node()


AN_HOUR_LATER = "2026-01-01T01:02:00Z"
THIRTY_SECONDS_LATER = "2026-01-01T00:02:30Z"


class TestDisrupted:
    @pytest.mark.parametrize("reason", DISRUPTIONS)
    def test_a_pod_that_is_taken_away_fails_with_that_reason(self, reason: str):
        seen = observe_one(plain().ends("train", 137).is_over(reason, "It had to go."), PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, reason)
        assert seen.message == "Pod wine-1-train-1-x7k2p ended: It had to go."

    def test_what_its_container_said_is_kept(self):
        seen = observe_one(plain().ends("train", 143, message="Stopped at row 7.").is_over("Evicted"), PLAIN)

        assert (seen.exit_code, seen.log_tail) == (143, "Stopped at row 7.")
        assert (seen.started, seen.ended) == (NOW, LATER)

    @pytest.mark.parametrize("reason", DISRUPTIONS)
    def test_a_container_that_ends_with_0_because_its_pod_is_taken_away_has_not_succeeded(self, reason: str):
        seen = observe_one(plain().ends("train").is_over(reason), PLAIN)

        assert (seen.phase, seen.fault) == (Phase.FAILED, Fault.DISRUPTION)

    def test_a_failure_is_not_judged_before_the_kubelet_says_whether_it_evicted_the_pod(self):
        assert observe_one(plain().ends("train", 137).has_not_told_its_end(), PLAIN).phase is Phase.RUNNING

    def test_it_is_not_judged_before_the_kubelet_tells_how_its_containers_ended(self):
        pod = plain().runs("train").is_over("DeadlineExceeded")

        seen = observe_one(pod, PLAIN, earlier=EarlierSight(ended_at=parse(NOW)))

        assert (seen.phase, seen.awaited_until) == (Phase.RUNNING, END_TOLD_BY)

    def test_it_is_judged_without_that_once_its_grace_period_and_30_seconds_are_over(self):
        pod = plain().runs("train").is_over("DeadlineExceeded")

        seen = observe_one(pod, PLAIN, now=END_TOLD_BY, earlier=EarlierSight(ended_at=parse(NOW)))

        assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, "DeadlineExceeded", None)

    def test_a_pod_that_is_evicted_before_it_starts(self):
        seen = observe_one(plain().is_over("Evicted"), PLAIN)

        assert (seen.fault, seen.reason, seen.started) == (Fault.DISRUPTION, "Evicted", None)

    def test_a_node_that_lacks_disk_is_no_fault_of_the_step(self):
        message = (
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi. Container "
            "train was using 3Gi, request is 0, has larger consumption of ephemeral-storage. "
        )

        assert observe_one(plain().ends("train", 137).is_over("Evicted", message), PLAIN).fault is Fault.DISRUPTION

    @pytest.mark.parametrize(
        "message",
        [
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
            'Container train exceeded its local ephemeral storage limit "1Gi". ',
            'Usage of EmptyDir volume "cairn-work" exceeds the limit "1Gi". ',
        ],
    )
    def test_an_eviction_for_the_pod_s_own_use_of_disk_is_the_step_s_fault(self, message: str):
        seen = observe_one(plain().ends("train", 137).is_over("Evicted", message), PLAIN)

        assert (seen.fault, seen.reason) == (Fault.STEP, "Evicted")

    def test_a_disruption_tells_its_cause(self):
        pod = plain().ends("train", 143).is_being_deleted()
        pod.condition("DisruptionTarget", reason="DeletionByTaintManager", message="node is not ready")

        seen = observe_one(pod, PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "DeletionByTaintManager")

    def test_an_eviction_tells_when_it_was_asked_for_also_after_its_pod_was_deleted_again(self):
        pod = plain().ends("train", 1).was_deleted_again(AN_HOUR_LATER)
        pod.condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="evicting", since=NOW)

        seen = observe_one(pod, PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "EvictionByEvictionAPI")

    def test_a_disruption_that_is_told_after_a_deletion_does_not_hide_that(self):
        pod = plain().ends("train", 1).is_being_deleted()
        pod.condition("DisruptionTarget", reason="DeletionByPodGC", message="its node is gone", since=AN_HOUR_LATER)

        assert observe_one(pod, PLAIN).fault is Fault.DISRUPTION

    def test_a_step_that_failed_before_it_was_evicted_failed_by_itself(self):
        pod = plain().ends("train", 137).was_deleted_again(AN_HOUR_LATER)
        pod.condition("DisruptionTarget", reason="EvictionByEvictionAPI", message="evicting", since=AN_HOUR_LATER)

        assert observe_one(pod, PLAIN).fault is not Fault.DISRUPTION

    def test_too_much_memory_stays_the_step_s_own_fault(self):
        seen = observe_one(plain().ends("train", 137, "OOMKilled").is_being_deleted(), PLAIN)

        assert (seen.fault, seen.reason) == (Fault.STEP, "OOMKilled")

    @pytest.mark.parametrize("reason", ["Evicted", "NodeShutdown"])
    def test_a_fetch_that_is_stopped_from_outside_is_a_disruption(self, reason: str):
        seen = observe_one(full().ends("cairn-fetch", 143).is_over(reason), FULL)

        assert (seen.fault, seen.reason) == (Fault.DISRUPTION, reason)

    def test_a_publish_that_is_stopped_from_outside_is_a_disruption(self):
        seen = observe_one(full().ends("cairn-fetch").ends("train").ends("cairn-publish", 143).is_being_deleted(), FULL)

        assert (seen.fault, seen.reason) == (Fault.DISRUPTION, "PodDeleted")

    def test_a_fetch_that_had_its_say_before_the_pod_went_is_believed(self):
        report = json.dumps({"reason": "InputMissing", "message": "There is no raw."})

        seen = observe_one(full().ends("cairn-fetch", 1, message=report).is_being_deleted(), FULL)

        assert (seen.fault, seen.reason) == (Fault.SURROUNDINGS, "InputMissing")

    def test_a_pod_that_failed_without_saying_why(self):
        seen = observe_one(plain().is_over(), PLAIN)

        assert (seen.fault, seen.reason) == (Fault.DISRUPTION, "PodFailed")

    def test_the_step_whose_turn_it_was_is_the_one_that_was_disrupted(self):
        steps = (step("load"), step("train"), step("report"))
        pod = PodStory(job_of(*steps)).ends("load").ends("train", 137).is_over("Evicted")

        seen = observe(pod, *steps)

        assert [(attempt.step, attempt.phase, attempt.reason) for attempt in seen] == [
            ("load", Phase.SUCCEEDED, None),
            ("train", Phase.FAILED, "Evicted"),
        ]


class TestBeingDeleted:
    def test_a_running_step_goes_on(self):
        seen = observe_one(plain().runs("train").is_being_deleted(), PLAIN)

        assert (seen.phase, seen.reason, seen.being_stopped) == (Phase.RUNNING, "PodDeleted", True)
        assert seen.started == NOW

    def test_a_waiting_step_goes_on_waiting(self):
        seen = observe_one(plain().is_being_deleted(), PLAIN)

        assert (seen.phase, seen.reason, seen.being_stopped) == (Phase.WAITING, "PodDeleted", True)

    def test_it_goes_on_until_its_pod_is_over_though_its_own_container_has_ended(self):
        pod = plain().ends("train", 143).has_not_told_its_end().is_being_deleted()

        assert observe_one(pod, PLAIN).phase is Phase.RUNNING

    def test_it_has_failed_once_its_containers_have_ended(self):
        seen = observe_one(plain().ends("train", 143).is_being_deleted(), PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "PodDeleted")
        assert seen.message == "Pod wine-1-train-1-x7k2p was deleted before the step ended."

    def test_what_had_not_begun_ended_when_the_deletion_was_asked_for(self):
        assert observe_one(plain().is_being_deleted().is_over(), PLAIN).ended == "2026-01-01T00:01:30Z"

    def test_a_step_that_succeeded_before_has_succeeded(self):
        pod = plain().ends("train").is_being_deleted(AN_HOUR_LATER)

        assert observe_one(pod, PLAIN).phase is Phase.SUCCEEDED

    def test_a_step_that_failed_before_has_failed_by_itself(self):
        seen = observe_one(plain().ends("train", 3).is_being_deleted(AN_HOUR_LATER), PLAIN)

        assert (seen.fault, seen.reason, seen.exit_code) == (Fault.STEP, "ExitCode", 3)

    def test_a_step_that_ends_with_0_because_of_it_has_not_succeeded(self):
        seen = observe_one(plain().ends("train").is_being_deleted(), PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "PodDeleted")

    @pytest.mark.parametrize("code", [137, 143])
    def test_a_step_that_a_signal_ended_before_its_pod_was_deleted_again_ended_with_it(self, code: int):
        seen = observe_one(plain().ends("train", code).was_deleted_again(AN_HOUR_LATER), PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "PodDeleted")

    def test_a_step_that_failed_otherwise_before_its_pod_was_deleted_again_failed_by_itself(self):
        seen = observe_one(plain().ends("train", 3).was_deleted_again(AN_HOUR_LATER), PLAIN)

        assert (seen.fault, seen.reason) == (Fault.STEP, "ExitCode")

    @pytest.mark.parametrize(
        "earlier", [EarlierSight(was_being_deleted=True), EarlierSight(removal_requested_at=NOW)], ids=["seen", "when"]
    )
    @pytest.mark.parametrize("code", [0, 3])
    def test_a_step_whose_pod_was_seen_to_be_deleted_while_it_ran_ended_with_it_whatever_its_code(
        self, code: int, earlier: EarlierSight
    ):
        pod = plain().ends("train", code).was_deleted_again(AN_HOUR_LATER)

        seen = observe_one(pod, PLAIN, earlier=earlier)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "PodDeleted")

    @pytest.mark.parametrize(("code", "phase"), [(0, Phase.SUCCEEDED), (3, Phase.FAILED)])
    def test_when_its_pod_was_asked_to_go_decides_though_it_was_seen_to_run_after_that(self, code: int, phase: Phase):
        pod = plain().ends("train", code).is_being_deleted(AN_HOUR_LATER)

        seen = observe_one(pod, PLAIN, earlier=EarlierSight(was_being_deleted=True))

        assert (seen.phase, seen.fault) == (phase, None if code == 0 else Fault.STEP)

    def test_that_its_pod_is_being_deleted_is_told_until_its_end_is(self):
        pod = plain().ends("train", 1).has_not_told_its_end().is_being_deleted()

        assert observe_one(pod, PLAIN).reason == "PodDeleted"

    def test_that_it_ended_before_its_pod_was_deleted_is_kept_apart(self):
        pod = plain().ends("train", 1).has_not_told_its_end().is_being_deleted(AN_HOUR_LATER)

        assert observe_one(pod, PLAIN).reason is None

    @pytest.mark.parametrize("code", [0, 3])
    def test_a_step_that_ends_in_the_second_of_the_request_ended_with_it(self, code: int):
        pod = plain().ends("train", code).is_being_deleted(THIRTY_SECONDS_LATER)

        assert observe_one(pod, PLAIN).fault is Fault.DISRUPTION

    def test_one_that_succeeds_in_the_second_in_which_its_pod_is_deleted_again_has_succeeded(self):
        assert observe_one(plain().ends("train").was_deleted_again(LATER), PLAIN).phase is Phase.SUCCEEDED

    def test_outputs_are_waited_for_while_publish_has_its_grace_period(self):
        pod = full().ends("cairn-fetch").ends("train").runs("cairn-publish").is_being_deleted()

        assert observe_one(pod, FULL).phase is Phase.RUNNING

    def test_outputs_that_were_not_kept_before_the_pod_went_are_lost(self):
        pod = full().ends("cairn-fetch").ends("train").is_being_deleted().is_over()

        seen = observe_one(pod, FULL)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "PodDeleted")

    def test_when_it_will_count_as_lost_is_told(self):
        assert observe_one(plain().runs("train").is_being_deleted(), PLAIN).awaited_until == LOST

    def test_what_is_not_being_deleted_is_never_lost(self):
        assert observe_one(plain().runs("train"), PLAIN, now=LOST).awaited_until is None


class TestLost:
    def test_a_step_goes_on_until_its_grace_period_and_30_seconds_are_over(self):
        seen = observe_one(plain().runs("train").is_being_deleted(), PLAIN, now=LOST - A_MOMENT)

        assert seen.phase is Phase.RUNNING

    def test_after_that_its_node_is_lost(self):
        seen = observe_one(plain().runs("train").is_being_deleted(), PLAIN, now=LOST)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.DISRUPTION, "NodeLost")
        assert seen.message == "Pod wine-1-train-1-x7k2p is lost with its node node-1, which does not answer."

    def test_a_step_that_had_not_begun_is_lost_too(self):
        seen = observe_one(plain().is_being_deleted(), PLAIN, now=LOST)

        assert (seen.phase, seen.reason, seen.started) == (Phase.FAILED, "NodeLost", None)

    def test_outputs_that_were_being_kept_are_lost(self):
        pod = full().ends("cairn-fetch").ends("train").runs("cairn-publish").is_being_deleted()

        assert observe_one(pod, FULL, now=LOST).reason == "NodeLost"

    def test_a_pod_that_is_over_is_not_lost(self):
        seen = observe_one(plain().ends("train", 143).is_being_deleted(), PLAIN, now=LOST)

        assert seen.reason == "PodDeleted"

    def test_a_step_that_succeeded_before_has_succeeded(self):
        seen = observe_one(plain().ends("train").is_being_deleted(AN_HOUR_LATER), PLAIN, now=LOST)

        assert seen.phase is Phase.SUCCEEDED


class TestStopped:
    def stopped(self, code: int) -> PodStory:
        return plain().is_told_to_stop().ends("train", code).is_over("DeadlineExceeded", "Pod was active too long.")

    @pytest.mark.parametrize("code", [0, 1, 137, 143])
    def test_whatever_it_ends_with_it_was_stopped(self, code: int):
        seen = observe_one(self.stopped(code), PLAIN)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.STOPPED, "DeadlineExceeded")
        assert (seen.exit_code, seen.ended) == (code, LATER)

    @pytest.mark.parametrize("code", [0, 143])
    def test_it_is_not_judged_before_the_kubelet_says_that_it_stopped_the_pod(self, code: int):
        pod = plain().is_told_to_stop().ends("train", code).has_not_told_its_end()

        assert observe_one(pod, PLAIN).phase is Phase.RUNNING

    def test_a_step_that_used_too_much_memory_before_that_has_failed_by_itself(self):
        pod = plain().is_told_to_stop().ends("train", 137, "OOMKilled").is_over("DeadlineExceeded")

        assert observe_one(pod, PLAIN).fault is Fault.STEP

    def test_a_step_that_ended_before_the_kubelet_stopped_its_pod_has_succeeded(self):
        assert observe_one(plain().is_told_to_stop().ends("train"), PLAIN).phase is Phase.SUCCEEDED

    def test_a_step_whose_outputs_are_kept_has_succeeded_though_its_pod_was_stopped(self):
        report = json.dumps({"artifacts": {"model": {"digest": "sha256:1", "sizeBytes": 7}}})
        pod = full().is_told_to_stop().all_end_well(cairn_publish=report).is_over("DeadlineExceeded")

        assert observe_one(pod, FULL).phase is Phase.SUCCEEDED

    def test_a_step_whose_outputs_were_not_kept_was_stopped(self):
        pod = full().is_told_to_stop().ends("cairn-fetch").ends("train").is_over("DeadlineExceeded")

        assert observe_one(pod, FULL).fault is Fault.STOPPED

    def test_of_several_steps_the_one_whose_turn_it_was_was_stopped(self):
        steps = (step("load"), step("train"), step("report"))
        pod = PodStory(job_of(*steps)).is_told_to_stop().ends("load").ends("train").is_over("DeadlineExceeded")

        seen = observe(pod, *steps)

        assert [(attempt.step, attempt.phase, attempt.fault) for attempt in seen] == [
            ("load", Phase.SUCCEEDED, None),
            ("train", Phase.FAILED, Fault.STOPPED),
        ]
