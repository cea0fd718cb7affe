"""Writes docs/benchmarks.md and its plots."""

from __future__ import annotations

from pathlib import Path

from tests.bench import plots, tables
from tests.bench.results import Results

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
    directory.with_suffix(".md").write_text(text)
    plots.draw(results, directory)
