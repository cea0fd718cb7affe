"""Something that is wrong with a run's spec."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    field: str
    message: str

    def __str__(self) -> str:
        """Return the field and what to do about it."""
        return f"{self.field}: {self.message}"
