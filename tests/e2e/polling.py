"""Waits for what cannot be watched."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INTERVAL_SECONDS = 0.2


def poll(look: Callable[[], T], until: Callable[[T], bool], timeout: float, complaint: str) -> T:
    """Look again and again until something holds of what is seen, and return that; fails with what was seen last."""
    deadline = time.monotonic() + timeout
    while not until(seen := look()):
        assert time.monotonic() < deadline, f"{complaint} within {timeout:.0f} s: {seen}"
        time.sleep(INTERVAL_SECONDS)
    return seen
