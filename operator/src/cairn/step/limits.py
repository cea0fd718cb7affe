"""Bounds on work at the same time: how many files, how many bytes in memory, and when to stop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from cairn.step.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

Item = TypeVar("Item")


class Stop:
    """Tells the work to end by itself, so that it tidies up: a multipart upload is aborted."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Ask for the end."""
        self._set = True

    def check(self) -> None:
        """Raise StoppedError when the end was asked for."""
        if self._set:
            raise StoppedError


class Budget:
    """Bytes that all transfers together may hold. First come, first served: a large file is not starved."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._turn = asyncio.Lock()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncGenerator[None]:
        """Hold `amount`, or everything when it asks for more than there is."""
        amount = min(amount, self._total)
        async with self._turn, self._changed:
            await self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            async with self._changed:
                self._free += amount
                self._changed.notify_all()


async def for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], *, at_once: int, stop: Stop) -> None:
    """Do `work` for each item, `at_once` at a time; the first failure stops the rest and is raised."""
    waiting = iter(items)
    failures: list[Exception] = []

    async def worker() -> None:
        for item in waiting:
            try:
                stop.check()
                await work(item)
            except Exception as error:  # noqa: BLE001  # raised below, when the other workers have tidied up
                failures.append(error)
                stop.set()
                return

    await asyncio.gather(*(worker() for _ in range(at_once)))
    if failures:
        raise next((error for error in failures if not isinstance(error, StoppedError)), failures[0])
