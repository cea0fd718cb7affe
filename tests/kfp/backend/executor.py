"""What runs containers, behind one small interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from .state import Attempt, Phase


@dataclass
class Progress:
    """How far an attempt is."""

    phase: Phase = Phase.PENDING
    finished_at: datetime | None = None
    exit_code: int | None = None
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    """The text of each output parameter's file that was written."""
    artifacts: list[str] = field(default_factory=list[str])
    """The names of the output artifacts that were written; one that was not is no failure."""


class Executor(Protocol):
    """Runs one container for each attempt."""

    def start(self, attempt: Attempt) -> None:
        """Begin an attempt, or follow one on that was begun before a restart."""
        ...

    def progress(self, attempt: Attempt) -> Progress:
        """Return how far an attempt is."""
        ...

    def stop(self, attempt: Attempt) -> None:
        """End an attempt: it will have failed."""
        ...

    def remove(self, attempt: Attempt) -> None:
        """Forget an attempt, with all that is left of it."""
        ...
