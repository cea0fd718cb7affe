"""What Cairn is meant to cost at most, and whether it does. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.names import BARE_PODS, CAIRN_JOBS, CAIRN_PODS, DEFAULTS, PLAIN_JOBS, RAISED, TRACKED, UNTRACKED
from tests.bench.parts import TRACKED_RUNS, TRACKING_FAULTS
from tests.bench.results import Measurement, Results
from tests.bench.statistics import (
    bytes_of_a_step,
    gaps,
    median_rate,
    median_seconds,
    operator_writes,
    peak_mib,
    quantile,
    tracker_requests,
)

CLUSTERS = {DEFAULTS: "default rates", RAISED: "raised rates"}
FLOORS = {CAIRN_JOBS: PLAIN_JOBS, CAIRN_PODS: BARE_PODS}
GROWTH = 1.25
"""By how much the median update of a long run may be larger than that of a short one: times and counters have digits."""


@dataclass(frozen=True)
class Verdict:
    """A target, and how far from it Cairn is."""

    target: str
    measured: str
    met: bool


def verdicts(results: Results) -> Iterator[Verdict]:
    """Yield a verdict on each target of what has been measured."""
    measured = _Measured(results)
    for name, title, limit in (
        ("chain", "chain of 5", 1.10),
        ("fan-out", "fan-out 1→20→1", 1.10),
        ("burst", "30 one-step runs at once", 1.15),
    ):
        if measured.has(name):
            ratio = median_seconds(measured(name, CAIRN_JOBS)) / median_seconds(measured(name, PLAIN_JOBS))
            yield Verdict(f"{title}: at most {limit:.2f} × the time of plain Jobs", f"{ratio:.2f} ×", ratio <= limit)
    for name in ("chain", "fan-out"):
        if measured.has(name):
            gap = quantile(gaps(measured(name, CAIRN_JOBS)), 0.5)
            what = f"{name}: from a pod's end to the next Job's creation, less than 100 ms (p50)"
            yield Verdict(what, f"{gap:.0f} ms", gap < 100)
    yield from _writes(measured)
    for name, limit in (("flood-1000", 300), ("flood-5000", 600)):
        if measured.has(name):
            yield from _flood(measured, name, limit)
    yield from _sizes(measured)
    yield from _tracking(measured)


class _Measured:
    def __init__(self, results: Results) -> None:
        self._parts = results.parts

    def has(self, *names: str) -> bool:
        return all(name in self._parts for name in names)

    def arms(self, part: str) -> dict[str, None]:
        """Return the arms of a part, in their order."""
        return dict.fromkeys(one.arm for one in self._parts[part].measurements)

    def __call__(self, part: str, arm: str, cluster: str = "") -> list[Measurement]:
        return self._parts[part].of(arm, cluster)


def _writes(measured: _Measured) -> Iterator[Verdict]:
    if not measured.has("one"):
        return
    first = operator_writes(measured("one", CAIRN_JOBS))
    yield Verdict("one step: at most 6 writes by the operator", f"{first:.1f}", first <= 6)
    for name in ("chain", "fan-out"):
        if measured.has(name):
            runs = measured(name, CAIRN_JOBS)
            further = (operator_writes(runs) - first) / (runs[0].steps - 1)
            yield Verdict(f"{name}: at most 3 for each further step", f"{further:.1f}", further <= 3)


def _flood(measured: _Measured, name: str, limit: float) -> Iterator[Verdict]:
    for cluster, rates in CLUSTERS.items():
        for arm, floor in FLOORS.items():
            runs, floors = measured(name, arm, cluster), measured(name, floor, cluster)
            if not runs or not floors:
                continue
            share = median_rate(runs) / median_rate(floors)
            what = f"{runs[0].runs:,} runs, {rates}: at least half the rate of {floor}"
            yield Verdict(what, f"{share:.2f} ×, {median_rate(runs):.1f}/s", share >= 0.5)
    runs = [*measured(name, CAIRN_JOBS), *measured(name, CAIRN_PODS)]
    peak = peak_mib(runs)
    yield Verdict(f"{runs[0].runs:,} runs: operator under {limit} MiB", f"{peak:.0f} MiB", peak < limit)


def _sizes(measured: _Measured) -> Iterator[Verdict]:
    if measured.has("status-5", "status-500"):
        short, long = (_median_update(measured, name) for name in ("status-5", "status-500"))
        what = "a status update's size does not grow with the number of steps"
        found = f"p50 {short:,.0f} bytes for each changed step in a run of 5, {long:,.0f} in one of 500"
        yield Verdict(what, found, long <= GROWTH * short)
    for name, title in (("steps-500", "a run of 500 steps"), ("for-each-1000", "a run with forEach 1,000")):
        if measured.has(name):
            size = max(one.status_bytes or 0 for one in measured(name, CAIRN_JOBS)) / 1024
            yield Verdict(f"{title}: it finishes, status under 512 KiB", f"{size:.0f} KiB", size < 512)


def _tracking(measured: _Measured) -> Iterator[Verdict]:
    if measured.has(TRACKED_RUNS):
        runs = measured(TRACKED_RUNS, TRACKED)
        asked, most = tracker_requests(runs), 5 + 4 * runs[0].steps
        what = f"{runs[0].runs} runs of {runs[0].steps} steps: at most 5 requests to MLflow per run and 4 per step"
        yield Verdict(what, f"{asked:.1f}, where {most} may be", asked <= most)
    if measured.has(TRACKING_FAULTS):
        floor = median_seconds(measured(TRACKING_FAULTS, UNTRACKED))
        for arm in [arm for arm in measured.arms(TRACKING_FAULTS) if arm != UNTRACKED]:
            ratio = median_seconds(measured(TRACKING_FAULTS, arm)) / floor
            what = f"20 runs while {arm}: within 5 % of the time without a tracker"
            yield Verdict(what, f"{ratio:.2f} ×", ratio <= 1.05)


def _median_update(measured: _Measured, name: str) -> float:
    return quantile(bytes_of_a_step(measured(name, CAIRN_JOBS)), 0.5)
