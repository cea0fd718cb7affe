"""An event loop whose clock jumps to the next thing that is due, so that a test of an hour takes no time."""

from __future__ import annotations

import asyncio
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Never waits: when nothing can run, the time of the next timer has come."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # pyright: ignore[reportAttributeAccessIssue]
        select = selector.select

        def at_once(timeout: float | None = None) -> Any:
            events = select(0)
            if not events and timeout is None:
                raise AssertionError("nothing will ever happen: every task waits, and no timer is set")
            if not events and timeout:
                self._now += timeout
            return events

        selector.select = at_once

    def time(self) -> float:
        """Return the virtual time in seconds since the loop was made."""
        return self._now


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
