"""Spreads what would otherwise happen at the same moment everywhere."""

from __future__ import annotations

import random


def jittered(seconds: float, share: float = 0.2) -> float:
    """Return a time that is longer or shorter by as much as a share of it."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 - no secret
