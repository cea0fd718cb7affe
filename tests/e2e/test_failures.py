"""What goes wrong in a step is told where its author looks: in the run's status, in kubectl, in Events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cluster import Body, Cluster, condition, states, step
from manifests import ORCHESTRATORS, PYTHON_IMAGE, python, run
from s3 import S3Server

MODEL = {"name": "model", "path": "/out/model"}


def writes(name: str, text: str, and_then: str = "", **outputs: Any) -> Body:
    """A step that declares the result `accuracy` and writes some text in its place."""
    script = f"import os\nopen(os.environ['CAIRN_RESULTS'], 'w').write({text!r})\n{and_then}"
    return python(name, script, outputs={"results": ["accuracy"], **outputs})


BROKEN = [
    python("exit-code", "for n in range(500): print('line', n)\nraise SystemExit(3)"),
    python("traceback", "raise ValueError('no such column')"),
    python("memory", "b'x' * (256 << 20)", resources={"limits": {"memory": "32Mi"}}),
    {"name": "program", "image": PYTHON_IMAGE, "command": ["/no/such/program"]},
    python("no-output", "print('done')", outputs={"artifacts": [MODEL]}),
    python(
        "link",
        "import os\nos.mkdir('/out/model')\nos.symlink('/etc/passwd', '/out/model/link')",
        outputs={"artifacts": [MODEL]},
    ),
    writes("results-and-exit-code", '{"accuracy": 1}', "print('halfway')\nraise SystemExit(3)"),
    writes("no-results", ""),
    writes("number-as-results", "0.9"),
    writes("broken-results", '{"accuracy": '),
    writes("other-results", '{"accuracy": 1, "rmse": 2}'),
    writes("too-large-results", json.dumps({"accuracy": "9" * 5000})),
    writes("artifact-and-no-results", "", "open('/out/model', 'w')", artifacts=[MODEL]),
]
RESULTS_ARE_WRONG = {
    "no-results": "declares results (accuracy) but wrote none",
    "number-as-results": "wrote a JSON number",
    "broken-results": "is not a JSON object",
    "other-results": "wrote the result rmse, which it does not declare",
    "too-large-results": "is larger than 4 KiB",
    "artifact-and-no-results": "declares results (accuracy) but wrote none",
}
AROUND = [
    python("dependent", "print('never')", dependsOn=["fine", "exit-code"]),
    python("dependent-of-dependent", "print('never')", dependsOn=["dependent"]),
    python("fine", "print('fine')"),
    python("independent", "print('fine')", dependsOn=["fine"]),
]
STEPS: list[Body] = [*BROKEN, *AROUND]
WAITING = {
    "image": [
        python("before", "print('fine')"),
        {"name": "waits", "image": "localhost/does-not-exist:1", "dependsOn": ["before"]},
    ],
    "node": [python("waits", "print('never')", podTemplate={"nodeSelector": {"example.com/disk": "none-has-it"}})],
}
DELETED = [
    python("sleeps", "import time\ntime.sleep(600)", retry={"disruptionLimit": 0}),
    python("needs-it", "print('never')", dependsOn=["sleeps"]),
    python("independent", "print('fine')"),
]


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster) -> Cluster:
    """All runs of this module, started together."""
    for on in ORCHESTRATORS:
        shared_stacks.create(run(f"broken-{on}", STEPS, on=on))
        shared_stacks.create(run(f"deleted-{on}", DELETED, on=on))
        word = {"name": "WORD", "valueFrom": {"configMapKeyRef": {"name": f"late-{on}", "key": "word"}}}
        config = python("waits", "import os\nassert os.environ['WORD'] == 'late'", env=[word])
        for what, steps in {**WAITING, "config": [config]}.items():
            shared_stacks.create(run(f"{what}-{on}", steps, on=on))
    return shared_stacks


@pytest.fixture(scope="module")
def broken(runs: Cluster, orchestrator: str) -> Body:
    """The run in which each step fails in its own way."""
    return runs.finished(f"broken-{orchestrator}", timeout=420)


def test_an_exit_code_is_told_with_the_last_lines_of_the_log(broken: Body) -> None:
    failed = step(broken, "exit-code")

    assert (failed["state"], failed["reason"], failed["exitCode"]) == ("Failed", "ExitCode", 3)
    assert failed["message"] == "Step exit-code ended with exit code 3."
    assert failed["logTail"].endswith("line 498\nline 499\n")
    assert len(failed["logTail"]) <= 1024
    assert failed["podName"]
    assert failed["completionTime"] >= failed["startTime"]


def test_a_traceback_is_seen_in_the_status(broken: Body) -> None:
    failed = step(broken, "traceback")

    assert (failed["reason"], failed["exitCode"]) == ("ExitCode", 1)
    assert failed["logTail"].endswith("ValueError: no such column\n")


def test_a_step_over_its_memory_limit_is_oom_killed(broken: Body, runs: Cluster) -> None:
    failed = step(broken, "memory")

    assert (failed["state"], failed["exitCode"]) == ("Failed", 137)
    assert failed["reason"] == "OOMKilled" or runtime_missed_it(runs, failed)
    assert "raise resources.limits.memory" in failed["message"]


def runtime_missed_it(cluster: Cluster, failed: Body) -> bool:
    """Whether the pod itself does not say OOMKilled: containerd 1.6 forgets it when the exit comes before the cause."""
    pod = cluster.get("Pod", failed["podName"])
    assert pod is not None
    statuses = [*pod["status"].get("initContainerStatuses", ()), *pod["status"]["containerStatuses"]]
    own = next(item for item in statuses if item["name"] == failed["name"])
    return own["state"]["terminated"]["reason"] == "Error"


def test_a_program_that_is_not_in_the_image_is_named(broken: Body) -> None:
    failed = step(broken, "program")

    assert failed["state"] == "Failed"
    assert "/no/such/program" in failed["message"]


def test_a_missing_output_is_named_with_its_path(broken: Body) -> None:
    failed = step(broken, "no-output")

    assert (failed["state"], failed["reason"]) == ("Failed", "OutputMissing")
    assert "model at /out/model" in failed["message"]


@pytest.mark.parametrize("name", RESULTS_ARE_WRONG)
def test_results_that_are_not_as_declared_fail_the_step(broken: Body, name: str) -> None:
    failed = step(broken, name)

    assert (failed["state"], failed["reason"]) == ("Failed", "ResultsInvalid")
    assert RESULTS_ARE_WRONG[name] in failed["message"]
    assert name in failed["message"]
    assert "results" not in failed


def test_a_link_out_of_an_output_is_refused(broken: Body, s3_service: S3Server, shared_bucket: str) -> None:
    failed = step(broken, "link")

    assert (failed["state"], failed["reason"]) == ("Failed", "OutputInvalid")
    assert "/out/model/link is a symbolic link that leads out of the artifact" in failed["message"]
    where = f"{broken['metadata']['namespace']}/test/{broken['metadata']['name']}/link"
    assert s3_service.keys(f"s3://{shared_bucket}/{where}") == [f"{where}/attempt-1.log"]


def test_a_step_that_wrote_results_and_failed_shows_its_log(broken: Body) -> None:
    failed = step(broken, "results-and-exit-code")

    assert (failed["reason"], failed["exitCode"], failed["logTail"]) == ("ExitCode", 3, "halfway\n")
    assert "results" not in failed


def test_dependents_are_skipped_and_independent_branches_go_on(broken: Body) -> None:
    skipped, further = step(broken, "dependent"), step(broken, "dependent-of-dependent")

    assert (skipped["state"], skipped["reason"]) == ("Skipped", "DependencyFailed")
    assert skipped["message"] == "Step exit-code, which it needs, failed."
    assert (further["state"], further["reason"]) == ("Skipped", "DependencyFailed")
    assert further["message"] == "Step dependent, which it needs, was skipped."
    assert "podName" not in skipped
    assert (states(broken)["fine"], states(broken)["independent"]) == ("Succeeded", "Succeeded")


def test_no_step_is_tried_twice(broken: Body) -> None:
    attempts = {item["name"]: item["attempts"] for item in broken["status"]["steps"]}

    assert attempts == {item["name"]: 0 if item["name"].startswith("dependent") else 1 for item in STEPS}


def first_failure(body: Body) -> str:
    """The step that failed first."""
    failed = [item for item in body["status"]["steps"] if item["state"] == "Failed"]
    return min(failed, key=lambda item: item["completionTime"])["name"]


def test_the_run_ends_with_the_first_failure_in_its_message(broken: Body) -> None:
    succeeded = condition(broken, "Succeeded")

    assert (succeeded["status"], succeeded["reason"]) == ("False", "StepFailed")
    assert succeeded["message"].startswith(f"Step {first_failure(broken)} failed: ")
    assert succeeded["message"].endswith(f"{len(BROKEN) - 1} other steps failed too.")
    assert condition(broken, "Finished")["status"] == "True"
    assert broken["status"]["stepsSummary"] == f"2/{len(STEPS)}"
    ended = {"failed": len(BROKEN), "skipped": 2, "succeeded": 2, "cached": 0, "cancelled": 0}
    counts = {**ended, "pending": 0, "queued": 0, "running": 0, "retrying": 0}
    assert broken["status"]["stepCounts"] == counts


def test_kubectl_shows_the_failure(broken: Body, runs: Cluster) -> None:
    name = broken["metadata"]["name"]
    row = runs.kubectl("get", "run", name, "-o", "wide", "--no-headers")
    description = runs.kubectl("describe", "run", name)

    assert all(
        word in row for word in (name, "StepFailed", f"2/{len(STEPS)}", f"Step {first_failure(broken)} failed: ")
    )
    assert all(word in description for word in ("OutputMissing", "StartError", "Step dependent, which it needs"))
    events = description[description.index("Events:") :]
    assert "Warning" in events
    assert "StepFailed" in events


def test_an_event_tells_of_the_failure_once(broken: Body, runs: Cluster) -> None:
    events = sorted(runs.events("PipelineRun", broken["metadata"]["name"]), key=lambda event: event["eventTime"])

    told = [event for event in events if event["reason"] != "Pending"]  # as pods are slow to start on a small machine
    assert [(event["type"], event["reason"]) for event in told] == [("Warning", "StepFailed")]
    assert f"Step {first_failure(broken)} failed" in told[0]["note"]


def test_a_missing_image_is_told_in_the_registry_s_words(runs: Cluster, orchestrator: str) -> None:
    def says_why(body: Body) -> bool:
        return "failed to" in condition(body, "Succeeded").get("message", "")

    found = runs.wait("PipelineRun", f"image-{orchestrator}", says_why, 180, "the registry's words")

    waits = step(found, "waits")
    assert waits["state"] == "Queued"
    assert waits["reason"] in {"ErrImagePull", "ImagePullBackOff"}
    assert "localhost/does-not-exist:1" in waits["message"]
    assert "refused" in waits["message"] or "not found" in waits["message"]
    succeeded = condition(found, "Succeeded")
    assert (succeeded["status"], succeeded["reason"]) == ("Unknown", "Pending")
    assert succeeded["message"].startswith(f"Step waits waits: {waits['reason']}: ")
    assert states(found)["before"] == "Succeeded"


def test_a_node_that_nothing_offers_is_told_in_the_scheduler_s_words(runs: Cluster, orchestrator: str) -> None:
    def is_waiting(body: Body) -> bool:
        return bool(states(body)) and step(body, "waits").get("reason") == "Unschedulable"

    found = runs.wait("PipelineRun", f"node-{orchestrator}", is_waiting, 180, "Unschedulable")

    assert step(found, "waits")["state"] == "Queued"
    assert "didn't match Pod's node affinity/selector" in step(found, "waits")["message"]
    assert "Step waits waits: Unschedulable: " in condition(found, "Succeeded")["message"]


def test_a_step_whose_config_map_is_missing_says_so_and_starts_once_it_is_there(
    runs: Cluster, orchestrator: str
) -> None:
    def is_waiting(body: Body) -> bool:
        return bool(states(body)) and step(body, "waits").get("reason") == "CreateContainerConfigError"

    name = f"config-{orchestrator}"
    late = f"late-{orchestrator}"
    found = runs.wait("PipelineRun", name, is_waiting, 180, "CreateContainerConfigError")
    assert f'configmap "{late}" not found' in step(found, "waits")["message"]
    runs.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": late}, "data": {"word": "late"}})

    finished = runs.finished(name)

    assert condition(finished, "Succeeded")["reason"] == "Completed"
    assert "reason" not in step(finished, "waits")


def test_a_pod_that_someone_deletes_fails_a_step_that_is_not_to_be_made_again(runs: Cluster, orchestrator: str) -> None:
    name = f"deleted-{orchestrator}"
    started = runs.wait("PipelineRun", name, lambda body: states(body).get("sleeps") == "Running", 180, "sleeps runs")

    runs.delete("Pod", step(started, "sleeps")["podName"], grace_period=1)

    finished = runs.finished(name)
    failed = step(finished, "sleeps")
    assert (failed["state"], failed["reason"]) == ("Failed", "PodDeleted")
    assert failed["jobName"] in failed["message"]  # as a part of the pod's name, where that was seen to go
    assert states(finished) == {"sleeps": "Failed", "needs-it": "Skipped", "independent": "Succeeded"}
    assert condition(finished, "Succeeded")["message"].startswith("Step sleeps failed: PodDeleted: ")
