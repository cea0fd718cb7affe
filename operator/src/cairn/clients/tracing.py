"""What a trace consists of, whatever it is sent by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Span:
    """Something that took time."""

    span_id: int
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int]
    error: str | None = None
    """What went wrong, in a sentence; None where nothing did."""


@dataclass(frozen=True)
class Trace:
    """A span, and those that it consists of."""

    trace_id: int
    root: Span
    parts: Sequence[Span]


SendTrace = Callable[[Trace], None]
"""Has a trace sent some time; returns at once, whatever becomes of it."""
