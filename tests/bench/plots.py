"""The plots of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.names import BARE_PODS, CAIRN_JOBS, CAIRN_PODS, PLAIN_JOBS
from tests.bench.parts import PARTS
from tests.bench.results import Results
from tests.bench.statistics import bytes_of_a_step, gaps, median_rate, median_seconds
from tests.bench.tables import FLOODS, REAL_PARTS
from tests.bench.targets import CLUSTERS

COLORS = {PLAIN_JOBS: "#9aa5b1", BARE_PODS: "#cbd2d9", CAIRN_JOBS: "#b44d12", CAIRN_PODS: "#e8a87c"}
UPDATES = ("status-5", "status-50", "status-500")


def draw(results: Results, directory: Path) -> None:
    """Draw what has been measured. The same results give the same files."""
    mpl.rcParams.update({"svg.hashsalt": "cairn", "svg.fonttype": "none", "font.size": 9})
    _times(results, directory)
    _gaps(results, directory)
    _floods(results, directory)
    _updates(results, directory)


def _times(results: Results, directory: Path) -> None:
    names = [name for name in REAL_PARTS if name in results.parts]
    if not names:
        return
    bars = {arm: [median_seconds(results.parts[name].of(arm)) for name in names] for arm in (PLAIN_JOBS, CAIRN_JOBS)}
    figure, axes = _figure()
    _grouped(axes, [PARTS[name].title for name in names], bars, "{:.1f}")
    axes.set_ylabel("seconds")
    _save(figure, directory / "times.svg")


def _gaps(results: Results, directory: Path) -> None:
    parts = [results.parts[name] for name in ("chain", "fan-out") if name in results.parts]
    if not parts:
        return
    figure, axes = _figure()
    for arm in (PLAIN_JOBS, CAIRN_JOBS):
        ordered = sorted(max(gap, 1) for part in parts for gap in gaps(part.of(arm)))
        shares = [(index + 1) / len(ordered) for index in range(len(ordered))]
        axes.step(ordered, shares, where="post", label=arm, color=COLORS[arm], linewidth=2)
    axes.axvline(100, color="#52606d", linewidth=0.8, linestyle=":", label="target of p50")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from a pod's end to the next Job")
    axes.set_ylabel("share of steps")
    axes.legend(frameon=False)
    _save(figure, directory / "gaps.svg")


def _floods(results: Results, directory: Path) -> None:
    arms = (PLAIN_JOBS, CAIRN_JOBS, BARE_PODS, CAIRN_PODS)
    groups = [
        (name, cluster)
        for name in FLOODS
        if name in results.parts
        for cluster in CLUSTERS
        if results.parts[name].of(CAIRN_JOBS, cluster)
    ]
    if not groups:
        return
    figure, axes = _figure()
    bars = {arm: [median_rate(results.parts[name].of(arm, cluster)) for name, cluster in groups] for arm in arms}
    labels = [f"{results.parts[name].measurements[0].runs:,} runs,\n{CLUSTERS[cluster]}" for name, cluster in groups]
    _grouped(axes, labels, bars, "{:.1f}")
    axes.set_ylabel("finished in a second")
    _save(figure, directory / "floods.svg")


def _updates(results: Results, directory: Path) -> None:
    names = [name for name in UPDATES if name in results.parts]
    if not names:
        return
    figure, axes = _figure()
    runs = [results.parts[name].of(CAIRN_JOBS) for name in names]
    sizes = [bytes_of_a_step(measured) for measured in runs]
    axes.boxplot(sizes, whis=(1, 99), widths=0.4, medianprops={"color": COLORS[CAIRN_JOBS], "linewidth": 2})
    axes.set_xticks(range(1, len(names) + 1), [f"{measured[0].steps} steps" for measured in runs])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("bytes of an update for each step it tells of")
    _save(figure, directory / "updates.svg")


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _grouped(axes: Axes, groups: Sequence[str], bars: Mapping[str, Sequence[float]], form: str) -> None:
    width = 0.8 / len(bars)
    for index, (arm, heights) in enumerate(bars.items()):
        places = [group + (index - (len(bars) - 1) / 2) * width for group in range(len(groups))]
        drawn = axes.bar(places, heights, width * 0.92, label=arm, color=COLORS[arm])
        axes.bar_label(drawn, fmt=form, padding=2, fontsize=8)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.legend(frameon=False)


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})
