"""What stops a step or a run: its time, a failure elsewhere, a request. What was written by then is kept."""

from __future__ import annotations

import pytest

from cluster import Body, Cluster, condition, states, step
from manifests import HOLD, WORKLOADS, python, run
from s3 import S3Server

FOREVER = "import time\nprint('working', flush=True)\ntime.sleep(3600)"
IGNORES_SIGTERM = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}"
TIDIES_UP = (
    "import signal, sys, time\n"
    "def tidy(*_):\n    time.sleep(2)\n    print('tidied up', flush=True)\n    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, tidy)\n"
    f"{FOREVER}"
)
SHORT_GRACE = {"terminationGracePeriodSeconds": 3}
AFTER = python("after", "pass", dependsOn=["works"])


def works(script: str = FOREVER, **fields: object) -> Body:
    """A step that does not end by itself."""
    return python("works", script, **fields)


TIMES: dict[str, list[Body]] = {
    "attempt": [works(timeoutSeconds=3, retry={"limit": 1, "backoffSeconds": 0}), AFTER],
    "attempt-ignoring": [works(IGNORES_SIGTERM, timeoutSeconds=3, podTemplate=SHORT_GRACE), AFTER],
    "image": [python("works", "pass") | {"image": "localhost/does-not-exist:1", "pendingTimeoutSeconds": 75}, AFTER],
    "node": [works(pendingTimeoutSeconds=75, podTemplate={"nodeSelector": {"example.com/disk": "none"}}), AFTER],
}
FAILS: list[Body] = [
    python("fails", f"{HOLD}raise SystemExit(3)"),
    python("beside", HOLD),
    python("later", "pass", dependsOn=["beside"]),
]
POLICIES = {
    ("ContinueOnFailure", "kubernetes"): ("Succeeded", "Succeeded"),
    ("StopOnFailure", "kubernetes"): ("Succeeded", "Skipped"),
    ("FailFast", "kubernetes"): ("Cancelled", "Skipped"),
    ("ContinueOnFailure", "local"): ("Succeeded", "Succeeded"),
    ("StopOnFailure", "local"): ("Skipped", "Skipped"),
    ("FailFast", "local"): ("Skipped", "Skipped"),
}
"""What becomes of the two other steps; on `local` no step runs beside another."""


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster) -> Cluster:
    """All runs of this module, started together."""
    for on in WORKLOADS:
        for what, steps in TIMES.items():
            shared_stacks.create(run(f"{what}-{on}", steps, on=on))
        shared_stacks.create(run(f"timed-out-{on}", [works(TIDIES_UP), AFTER], on=on, timeoutSeconds=5))
        for cancel in ("graceful", "immediate"):
            shared_stacks.create(
                run(f"{cancel}-{on}", [python("done", "pass"), works(TIDIES_UP, dependsOn=["done"]), AFTER], on=on)
            )
    for policy, on in POLICIES:
        shared_stacks.create(run(f"policy-{policy.lower()}-{on}", FAILS, on=on, failurePolicy=policy))
    return shared_stacks


def test_an_attempt_that_takes_too_long_is_stopped_and_charged(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"attempt-{workload}", timeout=300)

    stopped = step(ended, "works")
    assert (stopped["state"], stopped["reason"], stopped["attempts"]) == ("Failed", "DeadlineExceeded", 2)
    assert stopped["message"] == "It ran for longer than its timeoutSeconds (3) and was stopped."
    assert "working" in runs.kubectl("logs", stopped["podName"], "--container", "works")
    assert states(ended)["after"] == "Skipped"


def test_a_step_that_ignores_sigterm_is_killed_after_its_grace_period(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"attempt-ignoring-{workload}", timeout=300)

    killed = step(ended, "works")
    assert (killed["state"], killed["reason"], killed["exitCode"]) == ("Failed", "DeadlineExceeded", 137)


@pytest.mark.parametrize(
    ("what", "reasons"), [("image", {"ErrImagePull", "ImagePullBackOff"}), ("node", {"Unschedulable"})]
)
def test_a_step_that_cannot_start_fails_with_what_it_waited_for(
    runs: Cluster, workload: str, what: str, reasons: set[str]
) -> None:
    ended = runs.finished(f"{what}-{workload}", timeout=300)

    waited = step(ended, "works")
    assert (waited["state"], waited["attempts"]) == ("Failed", 1)
    assert waited["reason"] in reasons
    assert waited["message"].startswith("It could not start within its pendingTimeoutSeconds (")
    if workload != "local":  # where the other step has the same pod
        for pod in runs.list("Pod", f"cairn.dev/run={what}-{workload},cairn.dev/step=works"):
            runs.wait_gone("Pod", pod["metadata"]["name"], timeout=60)


def test_a_run_that_takes_too_long_is_stopped(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"timed-out-{workload}", timeout=300)

    told = condition(ended, "Succeeded")
    assert (told["status"], told["reason"]) == ("False", "TimedOut")
    assert told["message"] == "The run has taken longer than its timeoutSeconds (5). 0 of 2 steps had succeeded."
    assert {name: step(ended, name)["reason"] for name in ("works", "after")} == {
        "works": "RunTimedOut",
        "after": "RunTimedOut",
    }
    assert states(ended) == {"works": "Cancelled", "after": "Cancelled"}


def test_a_graceful_cancel_gives_steps_their_grace_period_and_keeps_their_logs(
    runs: Cluster, workload: str, s3_service: S3Server
) -> None:
    name = f"graceful-{workload}"
    runs.wait("PipelineRun", name, lambda body: states(body).get("works") == "Running", timeout=300)
    runs.patch("PipelineRun", name, {"spec": {"cancel": "Graceful"}})

    ended = runs.finished(name, timeout=60)

    assert condition(ended, "Succeeded")["reason"] == "Cancelled"
    assert states(ended) == {"done": "Succeeded", "works": "Cancelled", "after": "Cancelled"}
    log = runs.kubectl("logs", step(ended, "works")["podName"], "--container", "works")
    assert log.splitlines() == ["working", "tidied up"]
    assert s3_service.read(step(ended, "works")["logURI"]).decode() == log


def test_an_immediate_cancel_ends_the_run_at_once(runs: Cluster, workload: str) -> None:
    name = f"immediate-{workload}"
    running = runs.wait("PipelineRun", name, lambda body: states(body).get("works") == "Running", timeout=300)
    runs.patch("PipelineRun", name, {"spec": {"cancel": "Immediate"}})

    ended = runs.finished(name, timeout=10)

    assert condition(ended, "Succeeded")["reason"] == "Cancelled"
    assert states(ended) == {"done": "Succeeded", "works": "Cancelled", "after": "Cancelled"}
    runs.wait_gone("Pod", step(running, "works")["podName"], timeout=20)
    if workload != "pods":
        runs.wait_gone("Job", step(running, "works")["jobName"], timeout=20)


def test_a_cancel_cannot_be_taken_back(runs: Cluster) -> None:
    told = runs.create(run("cancelled", [works()], cancel="Graceful", suspend=True))

    with pytest.raises(Exception, match="cancel cannot be taken back"):
        runs.patch("PipelineRun", told["metadata"]["name"], {"spec": {"cancel": None}})

    ended = runs.finished("cancelled", timeout=20)
    assert condition(ended, "Succeeded")["message"] == "The run was cancelled before it started."
    assert runs.list("Job", "cairn.dev/run=cancelled") == []


@pytest.mark.parametrize(("policy", "on"), POLICIES)
def test_the_failure_policy_says_what_becomes_of_other_steps(runs: Cluster, policy: str, on: str) -> None:
    name = f"policy-{policy.lower()}-{on}"
    beside, later = POLICIES[policy, on]
    if on == "kubernetes":
        runs.wait("PipelineRun", name, lambda body: states(body).get("beside") == "Running", timeout=300)
    runs.release(name, "fails", timeout=300)
    runs.wait("PipelineRun", name, lambda body: states(body)["fails"] == "Failed", timeout=60)
    if beside == "Succeeded":
        runs.release(name, "beside", timeout=300)

    ended = runs.finished(name, timeout=300)

    assert states(ended) == {"fails": "Failed", "beside": beside, "later": later}
    assert condition(ended, "Succeeded")["reason"] == "StepFailed"
