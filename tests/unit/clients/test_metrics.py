from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.clients.metrics import ReadinessCollector, RunCollector
from tests.unit.builders import BUCKET_SPEC, EARLIER, NOW, component_body, run_body, stack_body
from tests.unit.clock import ManualClock


def samples(components: list[JsonObject], stacks: list[JsonObject]) -> dict[tuple[str, ...], float]:
    metrics = ReadinessCollector(components, stacks).collect()
    return {(item.name, *item.labels.values()): item.value for metric in metrics for item in metric.samples}


def test_readiness_of_components_and_stacks_is_told_as_it_is_when_prometheus_asks():
    ready = component_body("bucket", BUCKET_SPEC, ready=True)
    ready["status"] |= {"type": "artifactStore", "flavor": "s3"}

    assert samples([ready, component_body("new", BUCKET_SPEC)], [stack_body("production")]) == {
        ("cairn_component_ready", "ml", "bucket", "artifactStore", "s3"): 1,
        ("cairn_component_ready", "ml", "new", "", ""): 0,
        ("cairn_stack_ready", "ml", "production"): 0,
    }


def waiting(name: str, created: str, reason: str = "", **status: object) -> JsonObject:
    condition = {"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": reason}]} if reason else {}
    return {**run_body(name=name, creationTimestamp=created), "status": {**condition, **status}}


def of_runs(*runs: JsonObject) -> dict[tuple[str, ...], float]:
    metrics = RunCollector(runs, ManualClock()).collect()
    return {(item.name, *item.labels.values()): item.value for metric in metrics for item in metric.samples}


def test_runs_that_have_not_ended_are_counted_by_reason():
    runs = [waiting(name, EARLIER, "Running", startTime=EARLIER) for name in ("a", "b")]
    ended = waiting("c", EARLIER, "Completed", startTime=EARLIER, completionTime=NOW)

    assert of_runs(*runs, ended) == {("cairn_active_runs", "ml", "Running"): 2}


def test_a_run_that_has_not_started_waits_since_it_was_made():
    runs = [waiting("new", NOW, "StackNotReady"), waiting("old", EARLIER, "StackNotReady")]

    assert of_runs(*runs)["cairn_longest_wait_seconds", "ml", "StackNotReady"] == 60


def test_a_run_that_nobody_has_looked_at_waits():
    assert of_runs(waiting("new", EARLIER)) == {
        ("cairn_active_runs", "ml", "NotSeenYet"): 1,
        ("cairn_longest_wait_seconds", "ml", "NotSeenYet"): 60,
    }


def test_a_run_of_which_nothing_runs_waits_since_its_oldest_attempt_was_decided_upon():
    steps = [
        {"name": "a", "state": "Queued", "queuedTime": "2026-01-01T00:00:30Z"},
        {"name": "b", "state": "Queued", "queuedTime": "2026-01-01T00:00:50Z"},
        {"name": "c", "state": "Succeeded", "queuedTime": EARLIER},
    ]
    pending = waiting("a", EARLIER, "Pending", startTime=EARLIER, steps=steps)

    assert of_runs(pending)["cairn_longest_wait_seconds", "ml", "Pending"] == 30


def test_a_run_that_is_being_deleted_does_not_wait():
    run = waiting("a", EARLIER, "PodsNotAdmitted")
    run["metadata"]["deletionTimestamp"] = NOW

    assert not of_runs(run)
