from __future__ import annotations

import asyncio
import os
import signal

import pytest

from cairn.clients.leadership import Leadership, LeadershipLostError
from cairn.handlers.leading import lead
from tests.unit.fake_kubernetes import FakeKubernetes
from tests.unit.virtual_time import settle


class Told(Leadership):
    """Leadership that comes and goes as the test says."""

    def __init__(self) -> None:
        super().__init__(FakeKubernetes(), "cairn-system", "cairn", "first")
        self.comes, self.goes = asyncio.Event(), asyncio.Event()
        self.released = False

    async def acquire(self) -> None:
        await self.comes.wait()

    async def keep(self) -> None:
        await self.goes.wait()
        raise LeadershipLostError("Another works.")

    async def release(self) -> None:
        self.released = True


class Work:
    """Work that ends when the test says so."""

    def __init__(self) -> None:
        self.began, self.was_cancelled = False, False
        self.ends = asyncio.Event()

    async def __call__(self) -> None:
        self.began = True
        try:
            await self.ends.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


async def test_the_work_begins_with_leadership():
    told, work = Told(), Work()
    leading = asyncio.ensure_future(lead(told, work))
    await settle()
    assert not work.began

    told.comes.set()
    await settle()

    assert work.began
    leading.cancel()


async def test_leadership_is_released_when_the_work_ends():
    told, work = Told(), Work()
    told.comes.set()
    work.ends.set()

    await lead(told, work)

    assert told.released


async def test_the_work_is_stopped_when_leadership_is_lost():
    told, work = Told(), Work()
    told.comes.set()
    leading = asyncio.ensure_future(lead(told, work))
    await settle()

    told.goes.set()

    with pytest.raises(LeadershipLostError):
        await leading
    assert work.was_cancelled
    assert not told.released


async def test_one_that_waits_can_be_stopped():
    told, work = Told(), Work()
    leading = asyncio.ensure_future(lead(told, work))
    await settle()

    os.kill(os.getpid(), signal.SIGTERM)
    await leading

    assert not work.began
    assert told.released
