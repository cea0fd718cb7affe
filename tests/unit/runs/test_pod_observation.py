from __future__ import annotations

import json

import pytest

from cairn.runs.observation import Fault, KeptArtifact, Phase
from tests.unit.builders import LATER, NOW, inputs, outputs, step
from tests.unit.pods import PodStory, job_of, observe, observe_one

PLAIN = step("train")
SCORED = step("train", outputs=outputs(results=["rmse"]))
FULL = step("train", inputs=inputs(data="s3://ml-artifacts/raw"), outputs=outputs("model"))
PUBLISHED = json.dumps({"artifacts": {"model": {"digest": "sha256:1", "sizeBytes": 7}}})


def plain() -> PodStory:
    return PodStory(job_of(PLAIN))


def full() -> PodStory:
    return PodStory(job_of(FULL))


class TestWaiting:
    def test_a_pod_that_no_node_has_room_for_waits_with_the_scheduler_s_reason(self):
        seen = observe_one(plain().unschedulable("0/3 nodes are available: insufficient memory."), PLAIN)

        assert (seen.phase, seen.reason, seen.on_node) == (Phase.WAITING, "Unschedulable", False)
        assert seen.message == "0/3 nodes are available: insufficient memory."

    @pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"])
    def test_a_container_that_cannot_start_waits_with_the_kubelet_s_reason(self, reason: str):
        seen = observe_one(plain().waits("train", reason, "manifest unknown"), PLAIN)

        assert (seen.phase, seen.reason, seen.message) == (Phase.WAITING, reason, "manifest unknown")

    def test_a_pod_that_is_about_to_start_waits_without_a_reason(self):
        seen = observe_one(plain().on_node().waits("train", "ContainerCreating", ""), PLAIN)

        assert (seen.phase, seen.reason, seen.on_node) == (Phase.WAITING, None, True)

    def test_a_step_waits_while_its_inputs_are_fetched(self):
        seen = observe_one(full().runs("cairn-fetch"), FULL)

        assert (seen.phase, seen.reason) == (Phase.WAITING, None)

    def test_an_image_that_cannot_be_pulled_for_fetch_is_told(self):
        assert observe_one(full().waits("cairn-fetch", "ErrImagePull", "no such image"), FULL).reason == "ErrImagePull"


class TestRunning:
    def test_a_step_runs_from_its_own_container_s_start(self):
        seen = observe_one(plain().runs("train"), PLAIN)

        assert (seen.phase, seen.started) == (Phase.RUNNING, NOW)
        assert (seen.pod_name, seen.pod_uid) == ("wine-1-train-1-x7k2p", "uid-of-wine-1-train-1")

    def test_a_step_runs_until_its_outputs_are_kept(self):
        seen = observe_one(full().ends("cairn-fetch").ends("train").runs("cairn-publish"), FULL)

        assert (seen.phase, seen.started, seen.reason) == (Phase.RUNNING, NOW, None)

    def test_publish_that_cannot_start_is_told(self):
        pod = full().ends("cairn-fetch").ends("train").waits("cairn-publish", "ImagePullBackOff", "no such image")

        seen = observe_one(pod, FULL)

        assert (seen.phase, seen.reason, seen.message) == (Phase.RUNNING, "ImagePullBackOff", "no such image")

    def test_a_pod_that_was_told_to_stop_is_known_to_be_stopping(self):
        assert not observe_one(plain().runs("train"), PLAIN).being_stopped
        assert observe_one(plain().runs("train").is_told_to_stop(), PLAIN).being_stopped


class TestSuccess:
    def test_a_plain_step_succeeds_when_its_container_does(self):
        seen = observe_one(plain().ends("train"), PLAIN)

        assert (seen.phase, seen.fault, seen.started, seen.ended) == (Phase.SUCCEEDED, None, NOW, LATER)

    def test_a_step_with_outputs_succeeds_when_these_are_kept(self):
        seen = observe_one(full().all_end_well(cairn_publish=PUBLISHED), FULL)

        assert seen.phase is Phase.SUCCEEDED
        assert seen.artifacts == {
            "model": KeptArtifact("s3://ml-artifacts/cairn/ml/wine/wine-1/train/model", "sha256:1", 7)
        }

    def test_where_artifacts_are_kept_is_read_from_the_pod_and_not_from_today_s_store(self):
        pod = full().all_end_well(cairn_publish=PUBLISHED)
        publish = pod.body["spec"]["containers"][0]
        publish["env"][0]["value"] = publish["env"][0]["value"].replace(
            "ml-artifacts/cairn", "ml-artifacts/old$$prefix"
        )

        assert observe_one(pod, FULL).artifacts["model"].uri.startswith("s3://ml-artifacts/old$prefix/")

    def test_results_are_what_the_step_wrote(self):
        pod = PodStory(job_of(SCORED)).ends("train", message='{"rmse": 0.71}')

        assert observe_one(pod, SCORED).results == {"rmse": "0.71"}

    def test_results_and_artifacts_of_one_step(self):
        both = step("train", outputs=outputs("model", results=["rmse"]))
        pod = PodStory(job_of(both)).ends("train", message='{"rmse": 0.71}').ends("cairn-publish", message=PUBLISHED)

        seen = observe_one(pod, both)

        assert (seen.phase, seen.results, list(seen.artifacts)) == (Phase.SUCCEEDED, {"rmse": "0.71"}, ["model"])


class TestFailure:
    def test_an_exit_code_is_the_step_s_fault(self):
        seen = observe_one(plain().ends("train", 3, message="ValueError: no rows\n"), PLAIN)

        assert (seen.phase, seen.fault, seen.reason, seen.exit_code) == (Phase.FAILED, Fault.STEP, "ExitCode", 3)
        assert seen.message == "Step train ended with exit code 3."
        assert seen.log_tail == "ValueError: no rows\n"

    def test_too_much_memory_is_the_step_s_fault(self):
        seen = observe_one(plain().ends("train", 137, "OOMKilled"), PLAIN)

        assert (seen.fault, seen.reason, seen.exit_code) == (Fault.STEP, "OOMKilled", 137)
        assert "raise resources.limits.memory" in str(seen.message)

    def test_a_kill_whose_cause_the_container_runtime_missed(self):
        seen = observe_one(plain().ends("train", 137, "Error"), PLAIN)

        assert (seen.fault, seen.reason, seen.exit_code) == (Fault.STEP, "ExitCode", 137)
        assert "raise resources.limits.memory" in str(seen.message)

    def test_a_command_that_cannot_be_started_is_the_step_s_fault(self):
        seen = observe_one(plain().ends("train", 128, "StartError", "exec: python: not found"), PLAIN)

        assert (seen.fault, seen.reason, seen.exit_code, seen.started) == (Fault.STEP, "StartError", 128, None)
        assert "not found" in str(seen.message)

    @pytest.mark.parametrize("exit_code", [0, 1])
    def test_a_program_that_ended_before_the_container_runtime_noted_its_start_began_no_later_than_it_ended(
        self, exit_code: int
    ):
        pod = plain().ends("train", exit_code, started=LATER, finished=NOW)

        seen = observe_one(pod, PLAIN)

        assert (seen.started, seen.ended) == (NOW, NOW)

    def test_what_could_not_be_started_shows_no_value_of_its_environment(self):
        message = (
            "failed to create containerd task: runc create failed: environment variable value can't contain "
            'null(\\x00): "TOKEN=SECRET\\x00-tail"'
        )

        seen = observe_one(plain().ends("train", 128, "StartError", message), PLAIN)

        assert "SECRET" not in f"{seen.message}{seen.log_tail}"
        assert str(seen.message).endswith('can\'t contain null(\\x00): "TOKEN=…"')

    def test_a_long_log_is_cut_to_its_end(self):
        seen = observe_one(plain().ends("train", 1, message="x" * 2000 + "the end"), PLAIN)

        assert len(str(seen.log_tail)) == 1024
        assert str(seen.log_tail).endswith("the end")

    def test_the_log_is_asked_for_where_the_message_holds_results(self):
        pod = PodStory(job_of(SCORED)).ends("train", 1, message='{"rmse": 1}')

        asks = observe_one(pod, SCORED)
        knows = observe_one(pod, SCORED, logs={"train": "Traceback"})

        assert (asks.phase, asks.wants_log_of) == (Phase.RUNNING, "train")
        assert (knows.phase, knows.reason, knows.log_tail) == (Phase.FAILED, "ExitCode", "Traceback")

    def test_a_message_of_a_thousand_brackets_is_a_log_like_any_other(self):
        seen = observe_one(PodStory(job_of(SCORED)).ends("train", 1, message="[" * 4096), SCORED)

        assert (seen.phase, seen.reason) == (Phase.FAILED, "ExitCode")

    def test_results_that_cannot_be_used_are_the_step_s_fault(self):
        seen = observe_one(PodStory(job_of(SCORED)).ends("train", message="0.71"), SCORED)

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.STEP, "ResultsInvalid")


class TestTransfer:
    def test_an_input_that_cannot_be_had_is_not_the_step_s_fault(self):
        report = json.dumps({"reason": "InputMissing", "message": "There is no raw."})

        seen = observe_one(full().ends("cairn-fetch", 1, message=report), FULL)

        assert (seen.phase, seen.reason, seen.message) == (Phase.FAILED, "InputMissing", "There is no raw.")
        assert (seen.fault, seen.started, seen.exit_code) == (Fault.SURROUNDINGS, None, None)

    @pytest.mark.parametrize("reason", ["OutputMissing", "OutputInvalid"])
    def test_what_the_step_did_not_write_is_its_fault(self, reason: str):
        report = json.dumps({"reason": reason, "message": "Step train wrote no /out/model."})
        pod = full().ends("cairn-fetch").ends("train").ends("cairn-publish", 1, message=report)

        seen = observe_one(pod, FULL)

        assert (seen.phase, seen.fault, seen.reason, seen.started) == (Phase.FAILED, Fault.STEP, reason, NOW)

    def test_a_store_that_takes_nothing_is_not_the_step_s_fault(self):
        report = json.dumps({"reason": "AccessDenied", "message": "The bucket takes nothing."})
        pod = full().ends("cairn-fetch").ends("train").ends("cairn-publish", 1, message=report)

        assert observe_one(pod, FULL).fault is Fault.SURROUNDINGS

    def test_a_transfer_that_died_without_a_word(self):
        pod = full().ends("cairn-fetch", 1)

        asks = observe_one(pod, FULL)
        knows = observe_one(pod, FULL, logs={"cairn-fetch": ""})

        assert asks.wants_log_of == "cairn-fetch"
        assert (knows.fault, knows.reason) == (Fault.SURROUNDINGS, "TransferFailed")
        assert knows.message == "cairn-fetch ended with Error, code 1."

    def test_a_transfer_out_of_memory_has_no_log_to_ask_for(self):
        assert "OOMKilled" in str(observe_one(full().ends("cairn-fetch", 137, "OOMKilled"), FULL).message)

    def test_a_report_that_the_kubelet_cut_short_is_read_from_the_log(self):
        pod = full().all_end_well(cairn_publish=PUBLISHED[:20])

        asks = observe_one(pod, FULL)
        knows = observe_one(pod, FULL, logs={"cairn-publish": f"published model: 1 file\n{PUBLISHED}\n"})

        assert (asks.phase, asks.wants_log_of) == (Phase.RUNNING, "cairn-publish")
        assert knows.artifacts["model"].size_bytes == 7

    def test_a_report_that_is_nowhere_to_be_read_is_not_the_step_s_fault(self):
        pod = full().all_end_well(cairn_publish=PUBLISHED[:20])

        seen = observe_one(pod, FULL, logs={"cairn-publish": ""})

        assert (seen.phase, seen.fault, seen.reason) == (Phase.FAILED, Fault.SURROUNDINGS, "ReportLost")


class TestSeveralStepsInAPod:
    STEPS = (step("load", outputs=outputs("data")), step("train", inputs=inputs(data="load.data")), step("report"))
    KEPT = json.dumps({"artifacts": {"data": {"digest": "sha256:1", "sizeBytes": 7}}})

    def pod(self) -> PodStory:
        return PodStory(job_of(*self.STEPS)).on_node()

    def loaded(self) -> PodStory:
        return self.pod().ends("load").ends("cairn-publish-0", message=self.KEPT)

    def phases(self, pod: PodStory) -> list[tuple[str, Phase]]:
        return [(attempt.step, attempt.phase) for attempt in observe(pod, *self.STEPS)]

    def test_the_first_one_s_turn_comes_with_the_pod(self):
        assert self.phases(self.pod()) == [("load", Phase.WAITING)]

    def test_a_step_whose_turn_has_not_come_is_not_seen(self):
        assert self.phases(self.pod().runs("load")) == [("load", Phase.RUNNING)]

    def test_its_turn_has_not_come_until_the_outputs_before_it_are_kept(self):
        assert self.phases(self.pod().ends("load").runs("cairn-publish-0")) == [("load", Phase.RUNNING)]

    def test_its_turn_comes_when_the_one_before_it_has_succeeded(self):
        assert self.phases(self.loaded()) == [("load", Phase.SUCCEEDED), ("train", Phase.WAITING)]

    def test_the_next_one_runs(self):
        assert self.phases(self.loaded().runs("train")) == [("load", Phase.SUCCEEDED), ("train", Phase.RUNNING)]

    def test_what_the_next_one_waits_for_is_told(self):
        seen = observe(self.loaded().waits("train", "ErrImagePull", "no such image"), *self.STEPS)

        assert [(attempt.step, attempt.reason) for attempt in seen] == [("load", None), ("train", "ErrImagePull")]

    def test_what_a_later_one_will_wait_for_is_not_told_before_its_turn(self):
        pod = self.pod().runs("load").waits("report", "ErrImagePull", "no such image")

        assert [attempt.step for attempt in observe(pod, *self.STEPS)] == ["load"]

    def test_a_failure_leaves_later_ones_unattempted(self):
        pod = self.loaded().ends("train", 1)

        seen = observe(pod, *self.STEPS, logs={"train": "boom"})

        assert [(attempt.step, attempt.phase) for attempt in seen] == [
            ("load", Phase.SUCCEEDED),
            ("train", Phase.FAILED),
        ]

    def test_no_turn_comes_any_more_in_a_pod_that_is_over(self):
        pod = self.loaded().is_over("Evicted")

        assert self.phases(pod) == [("load", Phase.SUCCEEDED)]

    def test_no_turn_comes_any_more_in_a_pod_that_is_being_deleted(self):
        pod = self.loaded().is_being_deleted()

        assert self.phases(pod) == [("load", Phase.SUCCEEDED)]

    def test_with_many_containers_the_kubelet_keeps_less_of_each_message_so_logs_are_asked_for(self):
        pod = self.pod().ends("load", 1, message="boo")

        (asks,) = observe(pod, *self.STEPS)
        (knows,) = observe(pod, *self.STEPS, logs={"load": "boom"})

        assert asks.wants_log_of == "load"
        assert knows.log_tail == "boom"

    def test_results_are_what_publish_read(self):
        steps = (SCORED, step("report"))
        report = json.dumps({"artifacts": {}, "results": '{"rmse": 1}'})
        pod = PodStory(job_of(*steps)).ends("train").ends("cairn-publish-0", message=report)

        assert observe(pod, *steps)[0].results == {"rmse": "1"}

    def test_a_step_that_wrote_no_results_has_failed(self):
        steps = (SCORED, step("report"))
        pod = PodStory(job_of(*steps)).ends("train").ends("cairn-publish-0", message='{"artifacts": {}}')

        assert observe(pod, *steps)[0].reason == "ResultsInvalid"
