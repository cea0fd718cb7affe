"""A step that has succeeded before is left out; what is not the same, or not there any more, runs."""

from __future__ import annotations

import os

import pytest

from cluster import Body, Cluster, artifacts, condition, results, states, step
from faults import on_node
from manifests import ORCHESTRATORS, PYTHON_IMAGE, python, run
from s3 import S3Server

WRITES = """
import os
os.makedirs("/out/model", exist_ok=True)
for name in ("a", "b"):
    open("/out/model/" + name, "w").write(os.environ["CAIRN_RUN"])
open("/out/page", "w").write(os.environ["CAIRN_RUN"])
open(os.environ["CAIRN_RESULTS"], "w").write('{"rmse": 0.5}')
"""
READS = "print(open('/in/model/a').read(), flush=True)"
OUTPUTS: Body = {
    "artifacts": [{"name": "model", "path": "/out/model"}, {"name": "page", "path": "/out/page"}],
    "results": ["rmse"],
}
MODEL = {"artifacts": [{"name": "model", "from": "train.model", "path": "/in/model"}]}


def steps(image: str, **cache: object) -> list[Body]:
    """A step that may be cached, one that reads what that wrote and may be cached too, and one that always runs."""
    return [
        python("train", WRITES, outputs=OUTPUTS, cache=cache) | {"image": image},
        python("test", READS, inputs=MODEL, cache=cache) | {"image": image},
        python("report", READS, inputs=MODEL),
    ]


@pytest.fixture(scope="module")
def image(shared_stacks: Cluster) -> str:
    """The image by its digest, which the nodes know under that name too, as if they had pulled it by it."""
    asked = shared_stacks.create(run("image", [python("only", "pass")], on="kubernetes"))
    pod = step(shared_stacks.finished(asked["metadata"]["name"], timeout=300), "only")["podName"]
    (container,) = (shared_stacks.get("Pod", pod) or {})["status"]["containerStatuses"]
    name = f"{PYTHON_IMAGE.rpartition(':')[0]}@{container['imageID'].partition('@')[2]}"
    if os.environ.get("CLUSTER") != "current":
        for node in shared_stacks.list("Node"):
            known, by_digest = (f"docker.io/library/{one}" for one in (PYTHON_IMAGE, name))
            on_node(node["metadata"]["name"], "ctr", "-n", "k8s.io", "images", "tag", "--force", known, by_digest)
    return name


@pytest.fixture(scope="module", params=ORCHESTRATORS)
def first(shared_stacks: Cluster, image: str, request: pytest.FixtureRequest) -> Body:
    """A run in which everything runs; each orchestrator has its own salt."""
    shared_stacks.create(run(f"first-{request.param}", steps(image, salt=request.param), on=request.param))
    return shared_stacks.finished(f"first-{request.param}", timeout=300)


@pytest.fixture(scope="module")
def on(first: Body) -> str:
    """The orchestrator."""
    return first["status"]["stack"]["name"]


@pytest.fixture(scope="module")
def again(shared_stacks: Cluster, image: str, on: str) -> Body:
    """The same run, once more."""
    shared_stacks.create(run(f"again-{on}", steps(image, salt=on), on=on))
    return shared_stacks.finished(f"again-{on}", timeout=300)


def test_the_first_time_everything_runs(first: Body) -> None:
    assert states(first) == {"train": "Succeeded", "test": "Succeeded", "report": "Succeeded"}


def test_the_second_time_what_is_cached_is_left_out(again: Body) -> None:
    assert states(again) == {"train": "Cached", "test": "Cached", "report": "Succeeded"}
    assert condition(again, "Succeeded")["reason"] == "Completed"
    assert again["status"]["stepsSummary"] == "3/3"


def test_a_cached_step_names_where_it_ran(again: Body, on: str) -> None:
    train = step(again, "train")

    assert (train["cachedFrom"]["run"], train["cachedFrom"]["step"]) == (f"first-{on}", "train")
    assert train["message"] == f"It ran as step train of run first-{on}."


def test_a_cached_step_has_the_outputs_of_the_one_that_ran(first: Body, again: Body) -> None:
    assert artifacts(again, "train") == artifacts(first, "train")
    assert results(again, "train") == {"rmse": "0.5"}


def test_what_comes_after_it_reads_these_outputs(shared_stacks: Cluster, again: Body, on: str) -> None:
    log = shared_stacks.kubectl("logs", step(again, "report")["podName"], "--container", "report")

    assert log.strip() == f"first-{on}"


def test_a_cached_step_has_no_pod(shared_stacks: Cluster, again: Body) -> None:
    name = again["metadata"]["name"]
    pods = shared_stacks.list("Pod", f"cairn.dev/run={name}")

    ran = {
        status["name"] for pod in pods for status in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    }
    assert "report" in ran
    assert not ran & {"train", "test"}


@pytest.mark.parametrize("change", [{"salt": "another than"}, {"expiresAfterSeconds": 1}, {"enabled": False}])
def test_with_another_salt_too_old_or_not_to_be_cached_it_runs(
    shared_stacks: Cluster, image: str, again: Body, on: str, change: Body
) -> None:
    name = f"{next(iter(change)).lower()}-{on}"
    salt = f"{change.get('salt', '')} {on}".strip()
    shared_stacks.create(run(name, steps(image, **{**change, "salt": salt})[:1], on=on))

    ended = shared_stacks.finished(name, timeout=300)

    assert states(ended) == {"train": "Succeeded"}


def test_the_digest_of_a_tag_that_no_registry_tells_is_why_a_step_is_not_cached(
    shared_stacks: Cluster, first: Body, on: str
) -> None:
    tagged = python("train", "pass", cache={}) | {"image": "localhost:1/none:1", "pendingTimeoutSeconds": 5}
    shared_stacks.create(run(f"tagged-{on}", [tagged], on=on))

    ended = shared_stacks.finished(f"tagged-{on}", timeout=300)

    assert step(ended, "train")["cacheMessage"].startswith(
        "The digest of localhost:1/none:1 is not known: localhost:1 "
    )


@pytest.mark.parametrize("what", ["page", "model/a"])
def test_an_artifact_of_which_something_was_deleted_is_no_hit(
    shared_stacks: Cluster, s3_service: S3Server, image: str, on: str, what: str
) -> None:
    name = f"{what[:5].strip('/')}-gone-{on}"
    only = steps(image, salt=name)[:1]
    shared_stacks.create(run(f"before-{name}", only, on=on))
    kept = artifacts(shared_stacks.finished(f"before-{name}", timeout=300), "train")
    artifact, _, below = what.partition("/")
    s3_service.delete("/".join(filter(None, (kept[artifact]["uri"], below))))

    shared_stacks.create(run(name, only, on=on))

    assert states(shared_stacks.finished(name, timeout=300)) == {"train": "Succeeded"}
