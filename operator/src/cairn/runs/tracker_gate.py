"""Lets requests through to a tracker, a few at a time; when it does not answer, one asks again for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cairn.clients.jitter import jittered
from cairn.components.records import TrackerClient, TrackerError, TrackerUnavailableError

Result = TypeVar("Result")
Request = Callable[[TrackerClient], Awaitable[Result]]

REQUESTS_AT_ONCE = 8
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
TOLD_AFTER_SECONDS = 10.0
"""How long a tracker is silent before people are told: that of one that is restarted is nobody's concern."""


class TrackerGate:
    """The way to one tracker; everything that is recorded there passes through it."""

    def __init__(self, connect: Callable[[], Awaitable[TrackerClient]], told: Callable[[], None]) -> None:
        """Make an open gate.

        `connect` returns the way into the tracker; `told` is called when there is a problem to tell people of, another one, or
        none any more.
        """
        self._connect = connect
        self._told = told
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._open = asyncio.Event()
        self._open.set()
        self._asking = False
        """Whether somebody asks again while it is closed."""
        self._pause = SHORTEST_PAUSE_SECONDS
        self._closed_since = 0.0
        self.is_prompt = True
        """Whether it makes sense to wait for an answer: nobody has waited in vain since the last one."""
        self.problem: TrackerUnavailableError | None = None
        """What the tracker said last, where it has been silent for long enough to tell of."""

    async def ask(self, request: Request[Result]) -> Result:
        """Return what a request answers, as soon as the tracker answers at all; until then it is asked again.

        Raises:
            TrackerError: this request is refused, others may not be.
        """
        while True:
            if not self._open.is_set() and self._asking:
                await self._open.wait()
            async with self._slots:
                if not self._open.is_set():
                    if self._asking:
                        continue
                    return await self._ask_until_answered(request)
                try:
                    answer = await request(await self._connect())
                except TrackerUnavailableError as error:
                    self._close(error)
                else:
                    self.is_prompt = True
                    return answer

    async def _ask_until_answered(self, request: Request[Result]) -> Result:
        self._asking = True
        try:
            while True:
                await asyncio.sleep(jittered(self._pause))
                try:
                    answer = await request(await self._connect())
                except TrackerUnavailableError as error:
                    self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause)
                    self._close(error)
                except TrackerError:
                    self._reopen()
                    raise
                else:
                    self._reopen()
                    return answer
        finally:
            self._asking = False
            if not self._open.is_set():
                self._open.set()
                self._open.clear()  # another one of those that wait asks from now on

    def _close(self, error: TrackerUnavailableError) -> None:
        now = asyncio.get_running_loop().time()
        self.is_prompt = False
        if self._open.is_set():
            self._closed_since = now
            self._open.clear()
        elif now - self._closed_since >= TOLD_AFTER_SECONDS:
            was, self.problem = self.problem, error
            if was is None or was.reason != error.reason:
                self._told()

    def _reopen(self) -> None:
        self.is_prompt = True
        self._pause = SHORTEST_PAUSE_SECONDS
        self._open.set()
        if self.problem is not None:
            self.problem = None
            self._told()
