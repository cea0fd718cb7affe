from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.runs.observation import AttemptObservation, Fault, Phase, attempts_in, has_ended, observe_without_pod
from tests.unit.builders import LATER, NOW, inputs, outputs, step
from tests.unit.pods import job_of

PLAIN = step("train")
SCORED = step("train", outputs=outputs(results=["rmse"]))
FULL = step("train", inputs=inputs(data="s3://ml-artifacts/raw"), outputs=outputs("model"))


def ended(job: JsonObject, condition: str, status: str = "True") -> JsonObject:
    return {**job, "status": {"conditions": [{"type": condition, "status": status}], "completionTime": LATER}}


def being_deleted(job: JsonObject) -> JsonObject:
    return {**job, "metadata": {**job["metadata"], "deletionTimestamp": NOW}}


def observe(job: JsonObject, *steps: Step, hindrance: str | None = None) -> list[AttemptObservation]:
    return list(observe_without_pod(job, [(one, 1) for one in steps], hindrance))


def observe_one(job: JsonObject, one: Step = PLAIN, hindrance: str | None = None) -> AttemptObservation:
    (attempt,) = observe(job, one, hindrance=hindrance)
    return attempt


class TestWhatAJobRuns:
    def test_its_steps_in_their_order_with_their_numbers(self):
        load = step("load")

        assert attempts_in(job_of(load, PLAIN), {"train": PLAIN, "load": load}) == ((load, 1), (PLAIN, 1))

    def test_a_step_that_the_run_does_not_have_is_left_out(self):
        assert attempts_in(job_of(step("gone")), {"train": PLAIN}) == ()

    def test_a_job_without_annotations_runs_nothing(self):
        assert attempts_in({"metadata": {"name": "a-job"}}, {"train": PLAIN}) == ()


class TestWhetherAJobHasEnded:
    @pytest.mark.parametrize("condition", ["Complete", "Failed"])
    def test_it_has_with_either_condition(self, condition: str):
        assert has_ended(ended(job_of(PLAIN), condition))

    @pytest.mark.parametrize(("condition", "status"), [("Failed", "False"), ("SuccessCriteriaMet", "True")])
    def test_it_has_not_with_others(self, condition: str, status: str):
        assert not has_ended(ended(job_of(PLAIN), condition, status))

    def test_it_has_not_without_a_status(self):
        assert not has_ended(job_of(PLAIN))


class TestWithoutAPod:
    def test_a_job_whose_pod_is_not_made_yet_wants_one(self):
        seen = observe_one(job_of(PLAIN))

        assert (seen.phase, seen.reason, seen.wants_pod) == (Phase.WAITING, None, True)
        assert (seen.job_name, seen.job_uid) == ("wine-1-train-1", "uid-of-wine-1-train-1")

    def test_what_the_api_server_has_against_the_pod_is_told(self):
        seen = observe_one(job_of(PLAIN), hindrance="exceeded quota: pods")

        assert (seen.phase, seen.reason, seen.message) == (Phase.WAITING, "FailedCreate", "exceeded quota: pods")
        assert seen.wants_pod

    def test_a_long_hindrance_is_cut(self):
        assert len(str(observe_one(job_of(PLAIN), hindrance="x" * 2000).message)) == 1024

    def test_no_pod_is_on_no_node(self):
        seen = observe_one(job_of(PLAIN))

        assert (seen.on_node, seen.being_stopped, seen.pod_name) == (False, False, None)

    def test_a_complete_job_whose_pod_is_gone_has_succeeded_where_nothing_is_missing(self):
        seen = observe_one(ended(job_of(PLAIN), "Complete"))

        assert (seen.phase, seen.fault, seen.ended) == (Phase.SUCCEEDED, None, LATER)

    @pytest.mark.parametrize("one", [SCORED, FULL], ids=["results", "artifacts"])
    def test_a_complete_job_whose_pod_is_gone_has_lost_what_the_pod_alone_knew(self, one: Step):
        seen = observe_one(ended(job_of(one), "Complete"), one)

        assert (seen.phase, seen.reason, seen.fault) == (Phase.FAILED, "PodDeleted", Fault.DISRUPTION)

    def test_a_failed_job_whose_pod_is_gone_was_disrupted(self):
        seen = observe_one(ended(job_of(PLAIN), "Failed"))

        assert (seen.phase, seen.reason, seen.fault) == (Phase.FAILED, "PodDeleted", Fault.DISRUPTION)
        assert seen.message == "The pod of Job wine-1-train-1 was deleted before its end was recorded."

    def test_a_job_that_is_being_deleted_was_disrupted(self):
        seen = observe_one(being_deleted(job_of(PLAIN)))

        assert (seen.phase, seen.reason, seen.fault) == (Phase.FAILED, "JobDeleted", Fault.DISRUPTION)

    def test_a_complete_job_that_is_being_deleted_has_succeeded(self):
        assert observe_one(being_deleted(ended(job_of(PLAIN), "Complete"))).phase is Phase.SUCCEEDED

    @pytest.mark.parametrize("hindrance", [None, "exceeded quota: pods"])
    def test_only_the_first_of_several_steps_waits(self, hindrance: str | None):
        steps = [PLAIN, step("report")]

        assert [seen.step for seen in observe(job_of(*steps), *steps, hindrance=hindrance)] == ["train"]

    def test_only_the_first_of_several_steps_is_known_to_have_been_attempted(self):
        steps = [PLAIN, step("report")]

        assert [seen.step for seen in observe(ended(job_of(*steps), "Failed"), *steps)] == ["train"]

    def test_all_steps_of_a_complete_job_have_succeeded(self):
        steps = [PLAIN, step("report")]

        seen = observe(ended(job_of(*steps), "Complete"), *steps)

        assert [(attempt.step, attempt.phase) for attempt in seen] == [
            ("train", Phase.SUCCEEDED),
            ("report", Phase.SUCCEEDED),
        ]
