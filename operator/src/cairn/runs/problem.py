"""Something that is wrong with a run's spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PROBLEMS_TOLD = 10


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    field: str
    message: str

    def __str__(self) -> str:
        """Return the field and what to do about it."""
        return f"{self.field}: {self.message}"


def all_told(problems: Sequence[Problem]) -> str | None:
    """Return what is wrong in one text, the first ones at length; None where nothing is."""
    if not problems:
        return None
    told = "; ".join(str(problem) for problem in problems[:PROBLEMS_TOLD])
    others = len(problems) - PROBLEMS_TOLD
    return f"{told} ({_and_more(others)})" if others > 0 else told


def _and_more(problems: int) -> str:
    return "and 1 more problem" if problems == 1 else f"and {problems} more problems"
