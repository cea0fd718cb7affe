"""Work that one of several operators does at a time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from cairn.clients.leadership import Leadership, LeadershipLostError

STOP_SECONDS = 1.5
"""What the work gets to end when leadership is lost: the other operator is about to begin."""


async def lead(leadership: Leadership, work: Callable[[], Awaitable[None]]) -> None:
    """Wait for leadership, do the work as long as that lasts, and let another take over when the work ends.

    Raises:
        LeadershipLostError: the work was not done yet; the process is to end, and to wait for its turn anew.
    """
    if not await _acquired(leadership):
        await leadership.release()
        return
    keeping = asyncio.ensure_future(leadership.keep())
    working = asyncio.ensure_future(work())
    await asyncio.wait({keeping, working}, return_when=asyncio.FIRST_COMPLETED)
    if keeping.done():
        working.cancel()
        await asyncio.wait({working}, timeout=STOP_SECONDS)
        keeping.result()
        raise LeadershipLostError
    await _ended(keeping)
    await leadership.release()
    await working


async def _acquired(leadership: Leadership) -> bool:
    """Wait for leadership; return False where the process is told to stop before."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)  # kopf puts its own in their place
    acquiring, stopping = asyncio.ensure_future(leadership.acquire()), asyncio.ensure_future(stopped.wait())
    await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if acquiring.done():
        acquiring.result()
        return True
    await _ended(acquiring)
    return False


async def _ended(task: asyncio.Future[None]) -> None:
    """Cancel a task, and wait until it is over: its last request must not come after what is asked next."""
    task.cancel()
    await asyncio.wait({task})
