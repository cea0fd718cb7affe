"""What waits for Cairn's objects by their conditions, as scripts and GitOps tools do: docs/operating.md."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import Body, Cluster, condition
from manifests import HOLD, component, pipeline, python, run, run_of, schedule_of, stack
from polling import poll

EVERY_YEAR = "0 0 1 1 *"


@pytest.fixture
def applied(namespace: Cluster) -> Cluster:
    """A namespace with an object of each kind, applied at once as GitOps does: what is named comes after what names it."""
    namespace.apply(schedule_of("wine", "yearly", EVERY_YEAR))
    namespace.apply(pipeline("wine", [python("train", "pass")]))
    namespace.apply(stack("production", orchestrator="local", store="store"))
    namespace.apply(component("store", {"artifactStore": {"local": {}}}))
    namespace.apply(component("local", {"orchestrator": {"local": {}}}))
    namespace.create(run_of("wine", "good", stackRef={"name": "production"}))
    namespace.create(run("bad", [python("train", "raise SystemExit(1)")], on="production"))
    return namespace


def wait(namespace: Cluster, what: str, type_: str, seconds: int = 180) -> None:
    """Wait for a condition as a script does; fails where it does not come."""
    namespace.kubectl("wait", what, f"--for=condition={type_}", f"--timeout={seconds}s")


def types(body: Body) -> set[str]:
    return {item["type"] for item in body["status"]["conditions"]}


def test_kubectl_waits_for_an_object_of_each_kind(applied: Cluster) -> None:
    awaited = [
        ("stackcomponent/store", "Ready"),
        ("stackcomponent/local", "Ready"),
        ("stack/production", "Ready"),
        ("pipeline/wine", "Ready"),
        ("pipelineschedule/yearly", "Ready"),
        ("pipelinerun/good", "Succeeded"),
        ("pipelinerun/good", "Finished"),
        ("pipelinerun/bad", "Finished"),
        ("pipelinerun/bad", "Stalled"),
        ("pipelinerun/bad", "Succeeded=false"),
    ]

    with ThreadPoolExecutor() as executor:
        for done in [executor.submit(wait, applied, *one) for one in awaited]:
            done.result()

    for kind, name in (("Stack", "production"), ("Pipeline", "wine"), ("PipelineRun", "good")):
        body = applied.get(kind, name)
        assert body is not None
        assert types(body).isdisjoint({"Reconciling", "Stalled"})


def test_a_run_is_reconciling_until_it_ends_and_stalled_once_it_was_cancelled(namespace: Cluster) -> None:
    namespace.create(run("held", [python("train", HOLD)]))
    wait(namespace, "pipelinerun/held", "Reconciling")

    namespace.patch("PipelineRun", "held", {"spec": {"cancel": "Immediate"}})
    wait(namespace, "pipelinerun/held", "Stalled")

    body = namespace.finished("held")
    assert "Reconciling" not in types(body)
    assert condition(body, "Stalled")["reason"] == condition(body, "Succeeded")["reason"] == "Cancelled"


def test_what_changes_of_a_run_after_its_end_is_seen_by_who_waits(namespace: Cluster) -> None:
    namespace.create(run("quick", [python("train", "pass")]))
    namespace.finished("quick")

    namespace.patch("PipelineRun", "quick", {"spec": {"ttlSecondsAfterFinished": 3600}})

    wait(namespace, "pipelinerun/quick", "Finished")


def test_what_can_never_be_used_is_stalled_until_it_is_written_otherwise(namespace: Cluster) -> None:
    namespace.apply(component("local", {"orchestrator": {"local": {}}}))
    namespace.apply(component("store", {"artifactStore": {"local": {}}}))
    namespace.apply(stack("production", orchestrator="local", store="local"))
    wait(namespace, "stack/production", "Stalled")

    namespace.apply(stack("production", orchestrator="local", store="store"))
    wait(namespace, "stack/production", "Ready")

    body = namespace.get("Stack", "production")
    assert body is not None
    assert "Stalled" not in types(body)


def test_events_tell_what_has_changed_once(namespace: Cluster) -> None:
    namespace.create(run("bad", [python("train", "raise SystemExit(1)")]))
    namespace.finished("bad")
    namespace.apply(pipeline("wine", [python("train", "pass")]))
    wait(namespace, "pipeline/wine", "Ready")
    namespace.apply(schedule_of("wine", "yearly", EVERY_YEAR))
    wait(namespace, "pipelineschedule/yearly", "Ready")

    namespace.patch("PipelineSchedule", "yearly", {"spec": {"suspend": True}})

    events = poll(
        lambda: told(namespace, "PipelineSchedule", "yearly"),
        lambda events: len(events) > 1,
        30,
        "no Event of a change",
    )
    assert events == [("Normal", "Scheduled"), ("Normal", "Suspended")]
    assert told(namespace, "PipelineRun", "bad").count(("Warning", "StepFailed")) == 1
    assert {"Reconciling", "Stalled"}.isdisjoint(reason for _, reason in told(namespace, "PipelineRun", "bad"))


def told(namespace: Cluster, kind: str, name: str) -> list[tuple[str, str]]:
    """Return type and reason of each Event about an object, in their order."""
    events = sorted(namespace.events(kind, name), key=lambda event: event["eventTime"])
    return [(event["type"], event["reason"]) for event in events]
