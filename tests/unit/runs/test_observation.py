from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.runs.job import build_job
from cairn.runs.observation import AttemptObservation, KeptArtifact, Phase, observe_job
from cairn.runs.pod import Attempt
from cairn.runs.results import parse_results
from tests.unit.builders import LATER, NOW, inputs, local_stack, outputs, pod_context, step
from tests.unit.pods import PodStory

PLAIN = step("train")
SCORED = step("train", outputs=outputs(results=["rmse"]))
FULL = step("train", inputs=inputs(data="s3://ml-artifacts/raw"), outputs=outputs("model"))
PUBLISHED = json.dumps({"artifacts": {"model": {"digest": "sha256:1", "sizeBytes": 7}}})


def job_of(*steps: Step) -> JsonObject:
    stack = local_stack() if len(steps) > 1 else None
    return build_job(pod_context(stack), [Attempt(one, 1) for one in steps])


def observe(
    pod: PodStory | None, steps: Sequence[Step], *, job: JsonObject | None = None, logs: Mapping[str, str] | None = None
) -> dict[str, AttemptObservation]:
    body = pod.body if pod else None
    seen = observe_job(job or job_of(*steps), body, {one.name: one for one in steps}, logs or {})
    return {attempt.step: attempt for attempt in seen}


def observe_one(pod: PodStory, one: Step, logs: Mapping[str, str] | None = None) -> AttemptObservation:
    return observe(pod, [one], logs=logs)[one.name]


def plain() -> PodStory:
    return PodStory(job_of(PLAIN))


def full() -> PodStory:
    return PodStory(job_of(FULL))


class TestWaiting:
    def test_a_pod_that_no_node_has_room_for_waits_with_the_scheduler_s_reason(self):
        seen = observe_one(plain().unschedulable("0/3 nodes are available: insufficient memory."), PLAIN)

        assert (seen.phase, seen.reason) == (Phase.WAITING, "Unschedulable")
        assert seen.message == "0/3 nodes are available: insufficient memory."

    @pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"])
    def test_a_container_that_cannot_start_waits_with_the_kubelet_s_reason(self, reason: str):
        seen = observe_one(plain().waits("train", reason, "manifest unknown"), PLAIN)

        assert (seen.phase, seen.reason, seen.message) == (Phase.WAITING, reason, "manifest unknown")

    def test_a_pod_that_is_about_to_start_waits_without_a_reason(self):
        seen = observe_one(plain().waits("train", "ContainerCreating", ""), PLAIN)

        assert (seen.phase, seen.reason) == (Phase.WAITING, None)

    def test_a_step_waits_while_its_inputs_are_fetched(self):
        seen = observe_one(full().runs("cairn-fetch"), FULL)

        assert (seen.phase, seen.message) == (Phase.WAITING, "Its inputs are being fetched.")

    def test_an_image_that_cannot_be_pulled_for_fetch_is_told(self):
        assert observe_one(full().waits("cairn-fetch", "ErrImagePull", "no such image"), FULL).reason == "ErrImagePull"


class TestRunning:
    def test_a_step_runs_from_its_own_container_s_start(self):
        seen = observe_one(plain().runs("train"), PLAIN)

        assert (seen.phase, seen.started, seen.pod_name) == (Phase.RUNNING, NOW, "wine-1-train-1-x7k2p")

    def test_a_step_runs_until_its_outputs_are_kept(self):
        seen = observe_one(full().ends("cairn-fetch").ends("train").runs("cairn-publish"), FULL)

        assert (seen.phase, seen.message) == (Phase.RUNNING, "Its outputs are being kept.")

    def test_publish_that_cannot_start_is_told(self):
        pod = full().ends("cairn-fetch").ends("train").waits("cairn-publish", "ImagePullBackOff", "no such image")

        seen = observe_one(pod, FULL)

        assert (seen.phase, seen.reason, seen.message) == (Phase.RUNNING, "ImagePullBackOff", "no such image")


class TestSuccess:
    def test_a_plain_step_succeeds_when_its_container_does(self):
        seen = observe_one(plain().ends("train"), PLAIN)

        assert (seen.phase, seen.started, seen.ended) == (Phase.SUCCEEDED, NOW, LATER)

    def test_a_step_with_outputs_succeeds_when_these_are_kept(self):
        pod = full().all_end_well(cairn_publish=PUBLISHED)

        seen = observe_one(pod, FULL)

        assert seen.phase == Phase.SUCCEEDED
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

    def test_results_of_a_step_that_shares_its_pod_are_what_publish_read(self):
        steps = [SCORED, step("report")]
        pod = (
            PodStory(job_of(*steps))
            .ends("train")
            .ends("cairn-publish-0", message=json.dumps({"artifacts": {}, "results": '{"rmse": 1}'}))
        )

        assert observe(pod, steps)["train"].results == {"rmse": "1"}


class TestFailure:
    def test_an_exit_code(self):
        seen = observe_one(plain().ends("train", 3, message="ValueError: no rows\n"), PLAIN)

        assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, "ExitCode", 3)
        assert seen.message == "Step train ended with exit code 3."
        assert seen.log_tail == "ValueError: no rows\n"

    def test_too_much_memory(self):
        seen = observe_one(plain().ends("train", 137, "OOMKilled"), PLAIN)

        assert (seen.reason, seen.exit_code) == ("OOMKilled", 137)
        assert "raise resources.limits.memory" in str(seen.message)

    def test_a_kill_whose_cause_the_container_runtime_missed(self):
        seen = observe_one(plain().ends("train", 137, "Error"), PLAIN)

        assert (seen.reason, seen.exit_code) == ("ExitCode", 137)
        assert "raise resources.limits.memory" in str(seen.message)

    def test_a_command_that_cannot_be_started(self):
        seen = observe_one(plain().ends("train", 128, "StartError", "exec: python: not found"), PLAIN)

        assert (seen.reason, seen.exit_code, seen.started) == ("StartError", 128, None)
        assert "not found" in str(seen.message)

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
        knows = observe_one(pod, SCORED, {"train": "Traceback"})

        assert (asks.phase, asks.wants_log_of) == (Phase.RUNNING, "train")
        assert (knows.phase, knows.reason, knows.log_tail) == (Phase.FAILED, "ExitCode", "Traceback")

    def test_fetch_tells_why_it_failed(self):
        report = json.dumps({"reason": "InputMissing", "message": "There is no raw."})

        seen = observe_one(full().ends("cairn-fetch", 1, message=report), FULL)

        assert (seen.phase, seen.reason, seen.message) == (Phase.FAILED, "InputMissing", "There is no raw.")
        assert (seen.started, seen.exit_code) == (None, None)

    def test_publish_tells_why_it_failed(self):
        report = json.dumps({"reason": "OutputMissing", "message": "Step train wrote no /out/model."})
        pod = full().ends("cairn-fetch").ends("train").ends("cairn-publish", 1, message=report)

        seen = observe_one(pod, FULL)

        assert (seen.phase, seen.reason, seen.started) == (Phase.FAILED, "OutputMissing", NOW)

    def test_a_transfer_that_died_without_a_word(self):
        pod = full().ends("cairn-fetch", 1)

        asks = observe_one(pod, FULL)
        knows = observe_one(pod, FULL, {"cairn-fetch": ""})

        assert asks.wants_log_of == "cairn-fetch"
        assert (knows.reason, knows.message) == ("TransferFailed", "cairn-fetch ended with Error, code 1.")

    def test_a_transfer_out_of_memory_has_no_log_to_ask_for(self):
        assert "OOMKilled" in str(observe_one(full().ends("cairn-fetch", 137, "OOMKilled"), FULL).message)

    def test_a_report_that_the_kubelet_cut_short_is_read_from_the_log(self):
        pod = full().all_end_well(cairn_publish=PUBLISHED[:20])

        asks = observe_one(pod, FULL)
        knows = observe_one(pod, FULL, {"cairn-publish": f"published model: 1 file\n{PUBLISHED}\n"})
        lost = observe_one(pod, FULL, {"cairn-publish": ""})

        assert (asks.phase, asks.wants_log_of) == (Phase.RUNNING, "cairn-publish")
        assert knows.artifacts["model"].size_bytes == 7
        assert (lost.phase, lost.reason) == (Phase.FAILED, "ReportLost")

    def test_a_message_of_a_thousand_brackets_is_a_log_like_any_other(self):
        report = observe_one(PodStory(job_of(SCORED)).ends("train", 1, message="[" * 4096), SCORED)

        assert (report.phase, report.reason) == (Phase.FAILED, "ExitCode")


class TestWhatTheClusterDoes:
    def evicted(self) -> PodStory:
        return plain().ends("train", 137).is_over("Evicted", "The node was low on resource: memory.")

    @pytest.mark.parametrize("reason", ["Evicted", "NodeLost", "Preempting", "DeadlineExceeded", "NodeShutdown"])
    def test_a_pod_that_is_taken_away_fails_with_that_reason_and_not_with_an_exit_code(self, reason: str):
        seen = observe_one(plain().ends("train", 137).is_over(reason, "It had to go."), PLAIN)

        assert (seen.phase, seen.reason, seen.exit_code) == (Phase.FAILED, reason, None)
        assert seen.message == "Pod wine-1-train-1-x7k2p ended: It had to go."
        assert seen.started == NOW

    def test_a_pod_that_is_evicted_before_it_starts(self):
        assert observe_one(plain().is_over("Evicted"), PLAIN).reason == "Evicted"

    def test_a_disruption_tells_its_cause(self):
        pod = plain().runs("train").is_being_deleted()
        pod.condition("DisruptionTarget", reason="DeletionByTaintManager", message="node is not ready")

        seen = observe_one(pod, PLAIN)

        assert (seen.phase, seen.reason) == (Phase.FAILED, "DeletionByTaintManager")

    def test_a_pod_that_somebody_deletes(self):
        assert observe_one(plain().runs("train").is_being_deleted(), PLAIN).reason == "PodDeleted"
        assert observe_one(plain().ends("train", 143).is_being_deleted(), PLAIN).reason == "PodDeleted"

    def test_a_step_that_succeeded_before_its_pod_was_deleted_has_succeeded(self):
        assert observe_one(plain().ends("train").is_being_deleted(), PLAIN).phase == Phase.SUCCEEDED

    def test_too_much_memory_stays_the_step_s_own_fault(self):
        assert observe_one(plain().ends("train", 137, "OOMKilled").is_being_deleted(), PLAIN).reason == "OOMKilled"

    def test_a_transfer_that_is_stopped_from_outside_is_not_its_own_failure(self):
        fetching = full().ends("cairn-fetch", 143).is_over("Evicted")
        publishing = full().ends("cairn-fetch").ends("train").ends("cairn-publish", 143).is_being_deleted()

        assert observe_one(fetching, FULL).reason == "Evicted"
        assert observe_one(publishing, FULL).reason == "PodDeleted"

    def test_outputs_that_were_not_kept_before_the_pod_went_are_lost(self):
        pod = full().ends("cairn-fetch").ends("train").is_being_deleted()

        assert (observe_one(pod, FULL).phase, observe_one(pod, FULL).reason) == (Phase.FAILED, "PodDeleted")

    def test_a_pod_that_failed_without_saying_why(self):
        assert observe_one(plain().is_over(), PLAIN).reason == "PodFailed"


class TestSeveralStepsInAPod:
    STEPS = (step("load", outputs=outputs("data")), step("train", inputs=inputs(data="load.data")), step("report"))
    KEPT = json.dumps({"artifacts": {"data": {"digest": "sha256:1", "sizeBytes": 7}}})

    def pod(self) -> PodStory:
        return PodStory(job_of(*self.STEPS))

    def test_each_step_waits_for_its_turn(self):
        seen = observe(self.pod().runs("load"), self.STEPS)

        assert [attempt.phase for attempt in seen.values()] == [Phase.RUNNING, Phase.WAITING, Phase.WAITING]
        assert seen["report"].message == "Waits for its turn in the pod."

    def test_one_has_succeeded_and_the_next_one_runs(self):
        pod = self.pod().ends("load").ends("cairn-publish-0", message=self.KEPT).runs("train")

        seen = observe(pod, self.STEPS)

        assert [attempt.phase for attempt in seen.values()] == [Phase.SUCCEEDED, Phase.RUNNING, Phase.WAITING]

    def test_a_pod_that_dies_in_the_middle_leaves_later_steps_unattempted(self):
        pod = self.pod().ends("load").ends("cairn-publish-0", message=self.KEPT).ends("train", 1, message="boom")

        seen = observe(pod, self.STEPS)

        assert seen["load"].phase == Phase.SUCCEEDED
        assert "report" not in seen

    @pytest.mark.parametrize("end", ["Evicted", "deleted"])
    def test_a_pod_that_is_taken_away_fails_the_step_whose_turn_it_was(self, end: str):
        pod = self.pod().ends("load").ends("cairn-publish-0", message=self.KEPT).runs("train")
        pod = pod.is_being_deleted() if end == "deleted" else pod.ends("train", 137).is_over(end)

        seen = observe(pod, self.STEPS)

        assert {name: attempt.phase for name, attempt in seen.items()} == {
            "load": Phase.SUCCEEDED,
            "train": Phase.FAILED,
        }

    def test_with_many_containers_the_kubelet_keeps_less_of_each_message_so_logs_are_asked_for(self):
        pod = self.pod().ends("load", 1, message="boo")

        assert observe(pod, self.STEPS)["load"].wants_log_of == "load"
        assert observe(pod, self.STEPS, logs={"load": "boom"})["load"].log_tail == "boom"

    def test_an_image_of_a_later_step_that_cannot_be_pulled_is_told_of_that_step(self):
        pod = self.pod().runs("load").waits("report", "ErrImagePull", "no such image")

        assert observe(pod, self.STEPS)["report"].reason == "ErrImagePull"


class TestJobsWithoutAPod:
    def job(self, *steps: Step, **fields: JsonObject) -> JsonObject:
        job = job_of(*steps)
        return {**job, **fields, "metadata": {**job["metadata"], **fields.get("metadata", {})}}

    def condition(self, type_: str) -> JsonObject:
        return {"conditions": [{"type": type_, "status": "True"}], "completionTime": LATER}

    def test_a_job_whose_pod_is_not_made_yet(self):
        seen = observe(None, [PLAIN])["train"]

        assert (seen.phase, seen.message) == (Phase.WAITING, "Its pod is not made yet.")

    def test_a_complete_job_whose_pod_is_gone_has_succeeded_where_nothing_is_missing(self):
        seen = observe(None, [PLAIN], job=self.job(PLAIN, status=self.condition("Complete")))["train"]

        assert (seen.phase, seen.ended) == (Phase.SUCCEEDED, LATER)

    @pytest.mark.parametrize("one", [SCORED, FULL], ids=["results", "artifacts"])
    def test_a_complete_job_whose_pod_is_gone_has_lost_what_the_pod_alone_knew(self, one: Step):
        seen = observe(None, [one], job=self.job(one, status=self.condition("Complete")))["train"]

        assert (seen.phase, seen.reason) == (Phase.FAILED, "PodDeleted")

    def test_a_failed_job_whose_pod_is_gone(self):
        seen = observe(None, [PLAIN], job=self.job(PLAIN, status=self.condition("Failed")))["train"]

        assert (seen.phase, seen.reason) == (Phase.FAILED, "PodDeleted")

    def test_a_job_that_is_being_deleted(self):
        seen = observe(None, [PLAIN], job=self.job(PLAIN, metadata={"deletionTimestamp": NOW}))["train"]

        assert (seen.phase, seen.reason) == (Phase.FAILED, "JobDeleted")

    def test_only_the_first_of_several_steps_is_known_to_have_been_attempted(self):
        steps = [PLAIN, step("report")]

        assert list(observe(None, steps, job=self.job(*steps, status=self.condition("Failed")))) == ["train"]

    def test_a_job_of_a_step_that_the_run_does_not_have_says_nothing(self):
        assert list(observe_job(job_of(step("gone")), None, {"train": PLAIN}, {})) == []


class TestResults:
    STEP = step("train", outputs=outputs(results=["rmse", "best"]))

    def test_numbers_and_booleans_are_kept_as_they_are_written(self):
        assert parse_results(self.STEP, '{"rmse": 0.50, "best": true}') == {"rmse": "0.5", "best": "true"}

    def test_text_is_kept_without_its_quotes(self):
        assert parse_results(self.STEP, '{"rmse": "0.50", "best": "ja\\n"}') == {"rmse": "0.50", "best": "ja\n"}

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "wrote none"),
            (" \n", "wrote none"),
            ("rmse=1", "is not a JSON object"),
            ('{"rmse": 1, "best": "' + "x" * 4096, "is larger than 4 KiB"),
            ("[" * 4000, "is not a JSON object"),
            ("[1]", "wrote a JSON list"),
            ('"x"', "wrote a JSON str"),
            ('{"rmse": 1}', "did not write the result best; it wrote: rmse"),
            ("{}", "did not write the result rmse; it wrote: none"),
            ('{"rmse": 1, "best": 2, "mae": 3}', "wrote the result mae, which it does not declare"),
            ('{"rmse": [1], "best": 2}', "Result rmse of step train is not a string, number or boolean"),
            ('{"rmse": 1, "best": {}}', "Result best of step train is not"),
            ('{"rmse": null, "best": 2}', "Result rmse of step train is not"),
            ('{"rmse": NaN, "best": 2}', "Result rmse of step train is not a finite number"),
            ('{"rmse": 1, "best": 2, "\\ud800": 3}', "whose name is not valid Unicode"),
        ],
    )
    def test_what_cannot_be_used_is_explained(self, text: str, problem: str):
        found = parse_results(self.STEP, text)

        assert isinstance(found, str)
        assert problem in found

    def test_a_step_whose_results_cannot_be_used_has_failed(self):
        pod = PodStory(job_of(SCORED)).ends("train", message="0.71")

        seen = observe_one(pod, SCORED)

        assert (seen.phase, seen.reason) == (Phase.FAILED, "ResultsInvalid")

    def test_a_step_that_wrote_no_results_has_failed(self):
        steps = [SCORED, step("report")]
        pod = PodStory(job_of(*steps)).ends("train").ends("cairn-publish-0", message='{"artifacts": {}}')

        assert observe(pod, steps)["train"].reason == "ResultsInvalid"
