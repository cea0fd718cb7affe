from __future__ import annotations

from cairn.runs import naming
from cairn.runs.job import build_job
from cairn.runs.pod import Attempt
from tests.unit.builders import local_stack, pod_context, step


def test_a_job_never_tries_again_by_itself():
    spec = build_job(pod_context(), [Attempt(step("train"), 1)])["spec"]

    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"


def test_a_job_goes_with_its_run():
    job = build_job(pod_context(), [Attempt(step("train"), 1)])

    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("PipelineRun", "wine-1", "uid-of-wine-1")
    assert owner["controller"] is True


def test_a_job_and_its_pod_say_which_attempts_they_run():
    job = build_job(pod_context(local_stack()), [Attempt(step("load"), 1), Attempt(step("train"), 2)])

    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert naming.attempts_of(metadata["annotations"]) == (("load", 1), ("train", 2))
        assert metadata["annotations"]["cairn.dev/run-name"] == "wine-1"
        assert metadata["labels"]["cairn.dev/run"] == "wine-1"


def test_a_job_is_named_after_its_first_attempt():
    job = build_job(pod_context(local_stack()), [Attempt(step("load"), 1), Attempt(step("train"), 2)])

    assert job["metadata"]["name"] == "wine-1-load-1"
    assert job["metadata"]["namespace"] == "ml"


def test_the_same_attempt_gives_the_same_job():
    attempts = [Attempt(step("train"), 1)]

    assert build_job(pod_context(), attempts) == build_job(pod_context(), attempts)
