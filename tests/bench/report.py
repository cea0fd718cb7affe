"""Writes docs/benchmarks.md and its plots."""

from __future__ import annotations

import re
from pathlib import Path

from tests.bench import plots, tables
from tests.bench.results import Results

PLOT = re.compile(r"!\[[^]]*\]\(([^)]*)\)\n\n?")
"""On a page; the group is its file."""
TEMPLATE = Path(__file__).with_name("template.md")


def write(results: Results, directory: Path) -> None:
    """Write the page of that directory's name beside it, and the plots into it."""
    text = TEMPLATE.read_text()
    sections = (
        tables.machine,
        tables.targets,
        tables.real,
        tables.floods,
        tables.large,
        tables.restart,
        tables.requests,
    )
    for section in sections:
        text = text.replace(f"@{section.__name__}@", section(results))
    plots.draw(results, directory)
    page = directory.with_suffix(".md")
    page.write_text(PLOT.sub(lambda found: found[0] if (page.parent / found[1]).exists() else "", text))
