"""Pauses that end early when there is news."""

from __future__ import annotations

import asyncio


async def pause(seconds: float, news: asyncio.Event) -> None:
    """Return after so many seconds, or as soon as an event is set."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
