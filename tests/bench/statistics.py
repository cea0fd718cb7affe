"""Medians and the like of what was measured; 0 where nothing was."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from tests.bench.results import Active, Measurement

STATUS_WRITE = "patch pipelineruns/status"
"""As OperatorCost has it."""


def quantile(values: Iterable[float], part: float) -> float:
    """Return the smallest value that at least this part of all values does not exceed."""
    ordered = sorted(values)
    if not ordered:
        return 0
    return ordered[max(0, -int(-len(ordered) * part // 1) - 1)]


def median_seconds(measurements: Sequence[Measurement]) -> float:
    """Return the median time."""
    return statistics.median([one.seconds for one in measurements] or [0])


def median_rate(measurements: Sequence[Measurement]) -> float:
    """Return the median of what was done in a second."""
    return statistics.median([one.rate for one in measurements] or [0])


def gaps(measurements: Sequence[Measurement]) -> list[float]:
    """Return the gaps of all repetitions, in milliseconds."""
    return [gap * 1000 for one in measurements for gap in one.gaps]


def operator_writes(measurements: Sequence[Measurement]) -> float:
    """Return the median of the operator's writes for each run."""
    return statistics.median([one.operator.writes / one.runs for one in measurements if one.operator] or [0])


def peak_mib(measurements: Sequence[Measurement]) -> float:
    """Return the most memory that the operator had in any repetition."""
    return max((one.operator.peak_mib for one in measurements if one.operator), default=0)


def cpu_seconds(measurements: Sequence[Measurement]) -> float:
    """Return the median of the operator's CPU time."""
    return statistics.median([one.operator.cpu_seconds for one in measurements if one.operator] or [0])


def tracker_requests(measurements: Sequence[Measurement]) -> float:
    """Return the median of what the experiment tracker was asked for each run."""
    return statistics.median([sum(one.tracker_requests.values()) / one.runs for one in measurements] or [0])


def status_writes(measurements: Sequence[Measurement]) -> float:
    """Return the median of the operator's writes of the status of a run, for each run."""
    counts = [one.operator.requests.get(STATUS_WRITE, 0) / one.runs for one in measurements if one.operator]
    return statistics.median(counts or [0])


def asked_of_kubeflow(measurements: Sequence[Measurement], kind: str | None = None) -> float:
    """Return the median of what Kubeflow Pipelines was asked for, or of one kind of it, for each run."""
    asked = [
        (sum(one.kubeflow.requests.values()) if kind is None else one.kubeflow.requests.get(kind, 0)) / one.runs
        for one in measurements
        if one.kubeflow
    ]
    return statistics.median(asked or [0])


def while_active(measurements: Sequence[Measurement], of: Callable[[Active], float]) -> float:
    """Return the median of something while all runs were active at once."""
    return statistics.median([of(one.active) for one in measurements if one.active] or [0])


def writes(measurements: Sequence[Measurement]) -> float:
    """Return the median of everybody's writes for each run."""
    return statistics.median([one.writes for one in measurements] or [0])


def bytes_of_a_step(measurements: Sequence[Measurement]) -> list[float]:
    """Return the size of each status update for each step that it tells of: steps that change at once go together."""
    return [size / steps for one in measurements for size, steps in one.updates if steps]
