"""Writes docs/benchmarks.md and its plots."""

from __future__ import annotations

import re
from pathlib import Path

from tests.bench import plots, tables
from tests.bench.names import CAIRN_JOBS, CAIRN_PODS, KUBEFLOW, TRACKED
from tests.bench.parts import KUBEFLOW_RUNS, KUBEFLOW_STEPS, PARTS
from tests.bench.results import Part, Results

PLOT = re.compile(r"!\[[^]]*\]\(([^)]*)\)\n\n?")
"""On a page; the group is its file."""
CAIRN = frozenset({CAIRN_JOBS, CAIRN_PODS, TRACKED})
TEMPLATE = Path(__file__).with_name("template.md")


def write(results: Results, directory: Path) -> None:
    """Write the page of that directory's name beside it, and the plots into it."""
    results = _comparable(results)
    text = TEMPLATE.read_text()
    sections = (
        tables.machine,
        tables.targets,
        tables.real,
        tables.floods,
        tables.large,
        tables.restart,
        tables.tracking,
        tables.kubeflow_runs,
        tables.kubeflow_requests,
        tables.kubeflow_steps,
        tables.requests,
    )
    for section in sections:
        text = text.replace(f"@{section.__name__}@", section(results))
    for plot in directory.glob("*.svg"):
        plot.unlink()  # of what has been measured before, and not now
    plots.draw(results, directory)
    page = directory.with_suffix(".md")
    page.write_text(PLOT.sub(lambda found: found[0] if (page.parent / found[1]).exists() else "", text))


def _comparable(results: Results) -> Results:
    """Return the parts of which all is there that is compared: the last measurement may have been broken off."""
    parts = {name: part for name, part in results.parts.items() if _has_both_sides(name, part)}
    return results.model_copy(update={"parts": parts})


def _has_both_sides(name: str, part: Part) -> bool:
    arms = {one.arm for one in part.measurements}
    if name in {KUBEFLOW_RUNS, KUBEFLOW_STEPS}:
        return arms >= {CAIRN_JOBS, KUBEFLOW}
    return bool(arms & CAIRN) and bool(arms - CAIRN or not PARTS[name].floor)
