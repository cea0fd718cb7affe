"""Medians and the like of what was measured; 0 where nothing was."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from tests.bench.results import Measurement


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


def writes(measurements: Sequence[Measurement]) -> float:
    """Return the median of everybody's writes for each run."""
    return statistics.median([one.writes for one in measurements] or [0])


def bytes_of_a_step(measurements: Sequence[Measurement]) -> list[float]:
    """Return the size of each status update for each step that it tells of: steps that change at once go together."""
    return [size / steps for one in measurements for size, steps in one.updates if steps]
