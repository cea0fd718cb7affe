"""What of the benchmarks is arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench import report
from tests.bench.arms import Order
from tests.bench.cost import by_verb, requests_of, updates
from tests.bench.follow import Sightings
from tests.bench.names import CAIRN_JOBS, PLAIN_JOBS, RAISED, REAL, TRACKED, UNTRACKED
from tests.bench.parts import TRACKED_RUNS, TRACKING_FAULTS
from tests.bench.results import Measurement, OperatorCost, Part, Results
from tests.bench.statistics import quantile
from tests.bench.tables import tracking
from tests.bench.targets import verdicts
from tests.bench.work import Task, Work, chain, fan_out, for_each, layers

METRICS = """
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",dry_run="",group="batch",resource="jobs",subresource="",verb="POST"} 3
apiserver_request_total{code="201",dry_run="All",group="",resource="pods",subresource="",verb="POST"} 2
apiserver_request_total{code="200",dry_run="",group="coordination.k8s.io",resource="leases",verb="PUT"} 50
apiserver_request_total{code="200",dry_run="",group="",resource="pods",subresource="status",verb="PATCH"} 1e+01
"""


@pytest.mark.parametrize(("part", "value"), [(0.5, 2), (0.9, 4), (0.99, 4), (1, 4), (0, 1)])
def test_a_quantile_is_one_of_the_values(part: float, value: float) -> None:
    assert quantile([4, 1, 3, 2], part) == value


def test_requests_are_counted_without_leases_and_with_dry_runs_apart() -> None:
    assert requests_of(METRICS) == {"POST": 3, "POST (dry run)": 2, "PATCH": 10}


def test_a_dry_run_is_no_write_of_the_operator() -> None:
    pods = {"resource": "pods"}
    events = [
        {"verb": "create", "objectRef": pods, "requestURI": "/api/v1/pods?dryRun=All"},
        {"verb": "create", "objectRef": pods, "requestURI": "/api/v1/pods"},
        {"verb": "patch", "objectRef": {"resource": "stacks", "subresource": "status"}, "requestURI": "/"},
        {"verb": "list", "objectRef": pods, "requestURI": "/api/v1/pods"},
    ]

    cost = OperatorCost(requests=by_verb(events))

    assert cost.requests["create pods (dry run)"] == 1
    assert cost.writes == 2


def test_an_update_says_of_how_many_steps_it_tells() -> None:
    patches = [
        [{"op": "add", "path": "/status", "value": {"steps": [{"name": "a"}, {"name": "b"}]}}],
        [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}],
        [{"op": "add", "path": f"/status/steps/{place}", "value": "x"} for place in ("10/state", "10/jobName", "7")],
    ]
    where = {"resource": "pipelineruns", "subresource": "status"}

    told = [steps for _, steps in updates({"objectRef": where, "requestObject": patch} for patch in patches)]

    assert told == [2, 0, 2]


@pytest.mark.parametrize(("work", "tasks"), [(chain(5), 5), (fan_out(20), 22), (layers(50, 10), 500), (for_each(9), 9)])
def test_plain_jobs_are_made_in_the_order_of_the_steps(work: Work, tasks: int) -> None:
    order, done = Order(work), list[Task]()
    ready = order.first
    while ready:
        task = ready.pop()
        assert set(work.predecessors(task)) <= set(done)
        done.append(task)
        ready += order.freed_by(task)

    assert len(set(done)) == len(done) == tasks


def test_a_gap_begins_with_the_last_end_that_a_step_waits_for() -> None:
    seen = Sightings(
        made={("run-0", "first"): 0, ("run-0", "m0"): 1.1, ("run-0", "m1"): 1.2, ("run-0", "last"): 5.5},
        pod_ended={("run-0", "first"): 1, ("run-0", "m0"): 5, ("run-0", "m1"): 3},
    )

    assert seen.gaps(fan_out(2)) == [0.1, 0.2, 0.5]


def measured(arm: str, *seconds: float) -> list[Measurement]:
    return [Measurement(part="chain", cluster=REAL, arm=arm, runs=1, steps=5, seconds=one) for one in seconds]


@pytest.mark.parametrize(("seconds", "met"), [(10.9, True), (11.1, False)])
def test_a_target_compares_medians(seconds: float, met: bool) -> None:
    measurements = [*measured(PLAIN_JOBS, 10, 1, 99), *measured(CAIRN_JOBS, seconds, 1, 99)]
    results = Results(parts={"chain": Part(date="", commit="", measurements=measurements)})

    assert next(verdicts(results)).met is met


@pytest.mark.parametrize(("requests", "met"), [(34, True), (36, False)])
def test_requests_to_the_tracker_are_counted_for_each_run(requests: int, met: bool) -> None:
    common: dict[str, Any] = {"part": TRACKED_RUNS, "cluster": RAISED, "runs": 2, "steps": 3, "seconds": 10}
    recorded = Measurement(arm=TRACKED, tracker_requests={"POST /runs/create": requests}, **common)
    measurements = [Measurement(arm=UNTRACKED, **common), recorded]
    results = Results(parts={TRACKED_RUNS: Part(date="", commit="", measurements=measurements)})

    (verdict,) = verdicts(results)
    assert (verdict.met, verdict.measured) == (met, f"{requests / 2:.1f}, where 17 may be")
    assert f"| {requests / 2:.1f} |" in tracking(results)


@pytest.mark.parametrize(("seconds", "met"), [(10.4, True), (10.6, False)])
def test_what_is_wrong_with_a_tracker_is_to_cost_no_time(seconds: float, met: bool) -> None:
    common: dict[str, Any] = {"part": TRACKING_FAULTS, "cluster": REAL, "runs": 20, "steps": 3}
    measurements = [Measurement(arm=arm, seconds=took, **common) for arm, took in ((UNTRACKED, 10), ("503", seconds))]
    results = Results(parts={TRACKING_FAULTS: Part(date="", commit="", measurements=measurements)})

    assert [verdict.met for verdict in verdicts(results)] == [met]


def test_results_are_kept_as_they_are(tmp_path: Path) -> None:
    measurements = [*measured(PLAIN_JOBS, 10, 1), *measured(CAIRN_JOBS, 2)]
    results = Results(machine={"a": 'b"'}, parts={"chain": Part(date="d", commit="c", measurements=measurements)})

    results.save(tmp_path / "results.json")

    assert Results.load(tmp_path / "results.json") == results


@pytest.mark.parametrize("arm", [PLAIN_JOBS, CAIRN_JOBS])
def test_a_part_that_was_broken_off_before_both_sides_were_measured_is_left_out(tmp_path: Path, arm: str) -> None:
    half = Measurement(part="chain", cluster=REAL, arm=arm, runs=1, steps=5, seconds=10, operator=OperatorCost())
    parts = {"chain": Part(date="2026-01-01", commit="abc", measurements=[half])}

    report.write(Results(parts=parts), tmp_path / "benchmarks")

    assert "chain of 5" not in (tmp_path / "benchmarks.md").read_text()
