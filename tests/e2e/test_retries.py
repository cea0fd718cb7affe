"""A step that fails is tried again as its author said; one that was disrupted, without being charged for it."""

from __future__ import annotations

import pytest

from cluster import Body, Cluster, condition, results, states, step
from manifests import HOLD, WORKLOADS, python, run
from s3 import S3Server

FAILS_TWICE = "import os\nassert int(os.environ['CAIRN_ATTEMPT']) > 2, 'not yet'"
SLEEPS_AT_FIRST = f"import os\nif os.environ['CAIRN_ATTEMPT'] == '1':\n{HOLD.replace(chr(10), chr(10) + '    ')}"

RETRIED: list[Body] = [
    python("flaky", FAILS_TWICE, retry={"limit": 3, "backoffSeconds": 1, "backoffFactor": 1}),
    python("after-flaky", "pass", dependsOn=["flaky"]),
    python("hopeless", "raise SystemExit(3)", retry={"limit": 1, "backoffSeconds": 1}),
    python("once", "raise SystemExit(4)"),
    python(
        "writes-at-last",
        f"{FAILS_TWICE}\nopen('/out/model', 'w').write('ok')\nopen(os.environ['CAIRN_RESULTS'], 'w').write('{{\"n\": 3}}')",
        outputs={"artifacts": [{"name": "model", "path": "/out/model"}], "results": ["n"]},
        retry={"limit": 2, "backoffSeconds": 0},
    ),
]


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster) -> Cluster:
    """All runs of this module, started together."""
    for on in WORKLOADS:
        shared_stacks.create(run(f"retried-{on}", RETRIED, on=on))
        for what in ("pod", "job"):
            shared_stacks.create(run(f"{what}-deleted-{on}", [python("sleeps", SLEEPS_AT_FIRST)], on=on))
    return shared_stacks


@pytest.fixture(scope="module")
def retried(runs: Cluster, workload: str) -> Body:
    """The run whose steps fail at first, or always."""
    return runs.finished(f"retried-{workload}", timeout=300)


def test_a_step_that_succeeds_at_its_third_attempt_has_succeeded(retried: Body) -> None:
    flaky = step(retried, "flaky")

    assert (flaky["state"], flaky["attempts"], flaky["retriesUsed"], flaky["disruptions"]) == ("Succeeded", 3, 2, 0)
    assert states(retried)["after-flaky"] == "Succeeded"


def test_each_attempt_has_its_record(retried: Body) -> None:
    records = step(retried, "flaky")["previousAttempts"]

    assert [record["number"] for record in records] == [1, 2]
    for record in records:
        assert (record["reason"], record["exitCode"], record["charged"]) == ("ExitCode", 1, True)
        assert record["podName"]
        assert record["startTime"] <= record["completionTime"]


def test_the_log_of_each_attempt_is_kept_in_the_artifact_store(retried: Body, s3_service: S3Server) -> None:
    flaky = step(retried, "flaky")
    attempts = [*flaky["previousAttempts"], flaky]

    logs = [s3_service.read(attempt["logURI"]).decode() for attempt in attempts]

    assert ["AssertionError: not yet" in log for log in logs] == [True, True, False]


def test_the_next_attempt_waits_for_its_backoff(retried: Body) -> None:
    flaky = step(retried, "flaky")

    times = [(record["completionTime"], record["startTime"]) for record in flaky["previousAttempts"]]
    assert times[0][0] < times[1][1] < flaky["startTime"]


def test_a_step_that_always_fails_is_tried_as_often_as_its_limit_says(retried: Body) -> None:
    hopeless, once = step(retried, "hopeless"), step(retried, "once")

    assert (hopeless["state"], hopeless["attempts"], hopeless["exitCode"]) == ("Failed", 2, 3)
    assert (once["state"], once["attempts"], once["exitCode"]) == ("Failed", 1, 4)
    assert condition(retried, "Succeeded")["reason"] == "StepFailed"


def test_what_the_last_attempt_wrote_counts(retried: Body) -> None:
    written = step(retried, "writes-at-last")

    assert (written["state"], written["attempts"]) == ("Succeeded", 3)
    assert results(retried, "writes-at-last") == {"n": "3"}
    assert [item["name"] for item in written["artifacts"]] == ["model"]


@pytest.mark.parametrize("what", ["pod", "job"])
def test_a_step_whose_pod_is_taken_away_is_made_again_without_being_charged(
    runs: Cluster, workload: str, what: str
) -> None:
    name = f"{what}-deleted-{workload}"
    running = runs.wait("PipelineRun", name, lambda body: states(body).get("sleeps") == "Running", timeout=300)
    taken = step(running, "sleeps")
    if what == "pod" or workload == "pods":
        runs.delete("Pod", taken["podName"], grace_period=1)
    else:
        runs.delete("Job", taken["jobName"])

    ended = runs.finished(name, timeout=300)

    again = step(ended, "sleeps")
    assert (again["state"], again["attempts"], again["retriesUsed"], again["disruptions"]) == ("Succeeded", 2, 0, 1)
    record = again["previousAttempts"][0]
    reason = "PodDeleted" if what == "pod" or workload == "pods" else "JobDeleted"
    assert (record["reason"], record["charged"]) == (reason, False)
    runs.wait_gone("Pod", taken["podName"], timeout=60)
