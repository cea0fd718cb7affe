from __future__ import annotations

from datetime import timedelta

import pytest

from cairn.api.base import JsonObject
from cairn.api.ownership import controller_reference
from cairn.api.time import parse, timestamp
from cairn.runs.retention import Retention, beyond_history, jobs_expire, run_expires
from tests.unit.builders import NOW, run_body, run_spec


def finished(
    name: str, *, minute: int = 0, succeeded: bool = True, pipeline: str = "wine", **spec: object
) -> JsonObject:
    """A run that ended that many minutes after NOW."""
    run = run_body(run_spec(**{"pipeline": pipeline, **spec}), name)
    run["status"] = {
        "completionTime": timestamp(parse(NOW) + timedelta(minutes=minute)),
        "conditions": [{"type": "Succeeded", "status": "True" if succeeded else "False"}],
    }
    return run


def names(runs: list[JsonObject]) -> list[str]:
    return sorted(run["metadata"]["name"] for run in runs)


def test_a_run_that_says_nothing_does_not_expire():
    assert run_expires(finished("a")) is None


def test_a_run_expires_so_long_after_its_end():
    assert run_expires(finished("a", ttlSecondsAfterFinished=90)) == parse(NOW) + timedelta(seconds=90)


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"argocd.argoproj.io/tracking-id": "ml:cairn.dev/PipelineRun:ml/a"}},
        {"annotations": {"meta.helm.sh/release-name": "ml"}},
        {"labels": {"app.kubernetes.io/instance": "ml"}},
        {"labels": {"argocd.argoproj.io/instance": "ml"}},
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "ml"}},
        {"labels": {"helm.toolkit.fluxcd.io/name": "ml"}},
    ],
)
def test_a_run_that_a_tool_would_make_anew_is_kept(metadata: JsonObject):
    run = finished("a", ttlSecondsAfterFinished=90)
    run["metadata"] |= metadata

    assert run_expires(run) is None
    assert beyond_history([run], "wine", Retention(successful_runs=0)) == []


def test_a_copy_of_a_run_that_argo_cd_has_applied_expires():
    run = finished("copy", ttlSecondsAfterFinished=90)
    run["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "ml:cairn.dev/PipelineRun:ml/a"}

    assert run_expires(run) is not None


def test_a_run_that_a_pipeline_has_started_expires_whatever_its_labels():
    run = finished("train-1", ttlSecondsAfterFinished=90)
    run["metadata"]["labels"] = {"app.kubernetes.io/instance": "ml"}
    run["metadata"]["ownerReferences"] = [controller_reference("Pipeline", "train", "uid-of-train")]

    assert run_expires(run) is not None


def test_jobs_expire_as_the_stack_says():
    stack = {"spec": {"keepJobsSeconds": 5}}

    assert jobs_expire(finished("a"), Retention.of(stack)) == parse(NOW) + timedelta(seconds=5)


@pytest.mark.parametrize("stack", [None, {"spec": {}}])
def test_jobs_are_kept_for_an_hour_unless_the_stack_says_otherwise(stack: JsonObject | None):
    assert jobs_expire(finished("a"), Retention.of(stack)) == parse(NOW) + timedelta(hours=1)


def test_all_runs_are_kept_unless_the_stack_says_otherwise():
    runs = [finished(name, minute=minute) for minute, name in enumerate("abc")]

    assert beyond_history(runs, "wine", Retention()) == []


def test_the_newest_runs_are_kept():
    runs = [finished("old", minute=1), finished("newest", minute=3), finished("new", minute=2)]

    assert names(beyond_history(runs, "wine", Retention(successful_runs=2))) == ["old"]


def test_runs_that_succeeded_and_others_are_counted_apart():
    runs = [finished("good", minute=1), finished("bad", minute=2, succeeded=False), finished("worse", succeeded=False)]

    assert names(beyond_history(runs, "wine", Retention(successful_runs=1, failed_runs=1))) == ["worse"]


def test_a_limit_of_zero_keeps_none():
    assert names(beyond_history([finished("a")], "wine", Retention(successful_runs=0))) == ["a"]


def test_runs_of_other_pipelines_are_not_counted():
    runs = [finished("a"), finished("b", pipeline="churn")]

    assert beyond_history(runs, "wine", Retention(successful_runs=1)) == []


def test_active_runs_are_not_counted_nor_those_that_are_being_deleted():
    active, deleted = run_body(run_spec(), "active"), finished("deleted", minute=9)
    deleted["metadata"]["deletionTimestamp"] = NOW

    assert beyond_history([active, deleted, finished("a")], "wine", Retention(successful_runs=1)) == []
