"""What goes wrong with an artifact store in the middle of runs: they wait for it, or say why they cannot go on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from cluster import Body, Cluster, condition, states, step
from manifests import HOLD, WORKLOADS, component, python, run, s3, secret, stack
from s3 import S3Server, s3_server

DOWN_SECONDS = 60.0
WRITES = f"{HOLD}\nopen('/out/data', 'w').write('rows')"
READS = "assert open('/in/data').read() == 'rows'"
DATA: Body = {"artifacts": [{"name": "data", "path": "/out/data"}]}
CHAIN: list[Body] = [
    python("writes", WRITES, outputs=DATA),
    python("reads", READS, inputs={"artifacts": [{"name": "data", "from": "writes.data", "path": "/in/data"}]}),
]


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[S3Server]:
    """An S3 server that no other module uses."""
    with s3_server(cluster) as server:
        yield server


@pytest.fixture
def own_bucket(server: S3Server) -> str:
    """A bucket of the test's own on that server, in which the reader's key may do everything."""
    name = server.make_bucket(f"e2e-{secrets.token_hex(4)}")
    server.let_reader_write(name)
    return name


@pytest.fixture
def runs(stacks: Cluster, server: S3Server, own_bucket: str) -> Cluster:
    """Stacks on a bucket of that server, named `faulty-…`, beside the usual ones; a run on each, and one beside it.

    Every run holds its first step, which has an output to keep, until it is released.
    """
    stacks.apply(secret("faulty-credentials", **server.reader_credentials))
    stacks.apply(component("faulty", s3(own_bucket, server.endpoint, credentials="faulty-credentials")))
    for on in WORKLOADS:
        stacks.apply(stack(f"faulty-{on}", orchestrator=on, store="faulty"))
    for on in WORKLOADS:
        stacks.wait_condition("Stack", f"faulty-{on}", "Ready", status="True", timeout=30)
        stacks.create(run(f"meets-it-{on}", CHAIN, on=f"faulty-{on}"))
        stacks.create(run(f"beside-{on}", CHAIN, on=on))
    for on in WORKLOADS:
        for name in (f"meets-it-{on}", f"beside-{on}"):
            stacks.wait("PipelineRun", name, lambda body: states(body).get("writes") == "Running", 240)
    return stacks


@contextmanager
def unreachable(server: S3Server) -> Generator[None]:
    """Have nothing answer at the server's address."""
    server.cluster.patch("Service", "s3", {"spec": {"selector": {"app": "nobody"}}})
    try:
        yield
    finally:
        server.cluster.patch("Service", "s3", {"spec": {"selector": {"app": "s3"}}})


def release_all(runs: Cluster) -> None:
    """Let every run go on, and see that those beside the fault end well."""
    for on in WORKLOADS:
        runs.release(f"meets-it-{on}", "writes")
        runs.release(f"beside-{on}", "writes")


def assert_others_end_well(runs: Cluster) -> None:
    """Check that the fault has touched no other run."""
    for on in WORKLOADS:
        ended = runs.finished(f"beside-{on}", timeout=240)
        assert condition(ended, "Succeeded")["reason"] == "Completed", ended["status"]
        assert {item["attempts"] for item in ended["status"]["steps"]} == {1}


def assert_fails_to_keep_its_output(runs: Cluster, reason: str) -> None:
    """Check that each run that meets the fault says which, and that nothing that needs the output was started."""
    for on in WORKLOADS:
        ended = runs.finished(f"meets-it-{on}", timeout=400)
        writes = step(ended, "writes")
        assert (writes["state"], writes["reason"]) == ("Failed", reason), writes
        assert (step(ended, "reads")["state"], step(ended, "reads")["reason"]) == ("Skipped", "DependencyFailed")
        assert condition(ended, "Succeeded")["reason"] == "StepFailed"
        assert writes["message"] in condition(ended, "Succeeded")["message"]


@pytest.mark.full
def test_a_store_that_is_down_for_a_minute_is_waited_for(runs: Cluster, server: S3Server) -> None:
    with unreachable(server):
        release_all(runs)
        assert_others_end_well(runs)
        time.sleep(DOWN_SECONDS)
        met = [states(runs.get("PipelineRun", f"meets-it-{on}") or {})["writes"] for on in WORKLOADS]
        assert set(met) == {"Running"}, "nothing has met the fault"

    for on in WORKLOADS:
        ended = runs.finished(f"meets-it-{on}", timeout=240)
        assert condition(ended, "Succeeded")["reason"] == "Completed", ended["status"]
        assert {item["attempts"] for item in ended["status"]["steps"]} == {1}
        assert all(item.get("logURI") for item in ended["status"]["steps"])


def test_a_bucket_that_is_gone_is_named(runs: Cluster, server: S3Server, own_bucket: str) -> None:
    for key in server.keys(f"s3://{own_bucket}"):
        server.delete(f"s3://{own_bucket}/{key}")
    server.client().delete_bucket(Bucket=own_bucket)

    release_all(runs)

    assert_fails_to_keep_its_output(runs, "BucketNotFound")
    assert_others_end_well(runs)


def test_a_key_that_is_refused_from_now_on_is_told(runs: Cluster, server: S3Server, own_bucket: str) -> None:
    server.forbid_reader(own_bucket)

    release_all(runs)

    assert_fails_to_keep_its_output(runs, "ArtifactStoreDenied")
    assert_others_end_well(runs)


def cannot_keep_its_output(body: Body) -> bool:
    writes = step(body, "writes")
    return (writes["state"], writes.get("reason"), writes.get("message")) == (
        "Running",
        "CreateContainerConfigError",
        'secret "faulty-credentials" not found',
    )


def test_a_run_whose_secret_is_gone_goes_on_once_it_is_there_again(runs: Cluster, server: S3Server) -> None:
    runs.delete("Secret", "faulty-credentials")
    for on in WORKLOADS:
        runs.wait_condition("Stack", f"faulty-{on}", "Ready", status="False", timeout=30)

    release_all(runs)

    assert_others_end_well(runs)
    for on in WORKLOADS:
        waiting = runs.wait("PipelineRun", f"meets-it-{on}", cannot_keep_its_output, 60, "no Secret")
        told = condition(waiting, "Succeeded")
        assert told["reason"] == "Pending"
        assert told["message"].startswith(
            "The outputs of step writes are not available yet: CreateContainerConfigError"
        )
    runs.apply(secret("faulty-credentials", **server.reader_credentials))
    for on in WORKLOADS:
        ended = runs.finished(f"meets-it-{on}", timeout=240)
        assert condition(ended, "Succeeded")["reason"] == "Completed", ended["status"]
        assert {item["attempts"] for item in ended["status"]["steps"]} == {1}


@pytest.mark.parametrize("on", WORKLOADS)
def test_a_step_whose_secret_is_missing_says_so_and_starts_once_it_is_there(stacks: Cluster, on: str) -> None:
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "registry-token", "key": "word"}}}
    stacks.create(run("needs-secret", [python("only", "import os; assert os.environ['TOKEN']", env=[token])], on=on))

    def says_so(body: Body) -> bool:
        found = (body.get("status") or {}).get("steps", ())
        return any(
            item.get("reason") == "CreateContainerConfigError"
            and 'secret "registry-token" not found' in item["message"]
            for item in found
        )

    waiting = stacks.wait("PipelineRun", "needs-secret", says_so, 120)
    assert states(waiting)["only"] == "Queued"
    stacks.apply(secret("registry-token", word="open sesame"))
    ended = stacks.finished("needs-secret", timeout=120)
    assert condition(ended, "Succeeded")["reason"] == "Completed"
