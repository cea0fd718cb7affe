"""Times as the Kubernetes API writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

RESOLUTION = timedelta(seconds=1)
"""What a written time may lie before the moment that it stands for."""


def timestamp(moment: datetime) -> str:
    """Return the moment as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Return the moment that an RFC 3339 text stands for."""
    return datetime.fromisoformat(text)


def seconds_between(start: str, end: str) -> int:
    """Return the whole seconds from one RFC 3339 time to another, never negative."""
    return max(0, round((parse(end) - parse(start)).total_seconds()))
