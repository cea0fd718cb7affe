"""Keys that wait for a reconcile: each at most once, one reconcile of a key at a time, failures ever later.

The semantics are those of client-go's rate-limiting work queue
(https://pkg.go.dev/k8s.io/client-go/util/workqueue), on one event loop.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from cairn.clients import metrics
from cairn.clients.jitter import jittered
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, ConflictError
from cairn.clients.store import Key

logger = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Brings one object up to date; returns in how many seconds to look at it again, or None."""

Tell = Callable[[Key], Awaitable[None]]


async def nobody(_: Key) -> None:
    """Tell nobody."""


FAILURES_TOLD = 5
"""After so many failures in a row, people are told."""
SHORTEST_BACKOFF_SECONDS = 0.05
LONGEST_BACKOFF_SECONDS = 60.0

LONG_SECONDS = 0.25
"""What takes longer is an object of hundreds of steps, or a machine that has too much to do."""
LONGEST_REST_SECONDS = 2.0
"""After a reconcile that took long the object rests for as long: what happens meanwhile is dealt with in one."""

OUTDATED_TIMERS = 1000
"""How many are kept, beside as many as there are others, of those that were overtaken by a wake."""

current_object: ContextVar[tuple[str, Key] | None] = ContextVar("current_object", default=None)
"""Kind and key of what is being reconciled, for the log."""


class WorkQueue:
    """Reconciles of one kind."""

    def __init__(self, kind: str, reconcile: Reconcile, workers: int, tell: Tell = nobody) -> None:
        """Make a queue; `tell` says of an object that it cannot be reconciled."""
        self._kind = kind
        self._reconcile = reconcile
        self._tell = tell
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        """In the queue."""
        self._busy: set[Key] = set()
        """Being worked on, or resting after that."""
        self._again: set[Key] = set()
        """Woken while busy."""
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        """When a key is to be woken, on the monotonic clock; the earliest time asked for counts."""
        self._timers: list[tuple[float, Key]] = []
        self._timer_changed = asyncio.Event()

    @property
    def timers(self) -> int:
        """How many timers are kept, those included that a wake has overtaken."""
        return len(self._timers)

    def wake(self, key: Key) -> None:
        """Have the object reconciled soon: once its last reconcile, and the rest after that, is over."""
        self._due.pop(key, None)
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def wake_after(self, key: Key, seconds: float) -> None:
        """Have the object reconciled later, unless it is woken before."""
        due = time.monotonic() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._timers, (due, key))
        if len(self._timers) > 2 * len(self._due) + OUTDATED_TIMERS:
            self._timers = sorted((due, key) for key, due in self._due.items())
        self._timer_changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        metrics.QUEUE_LENGTH.labels(kind=self._kind).set_function(self._ready.qsize)
        metrics.RECONCILE_ERRORS.labels(kind=self._kind)  # Prometheus misses the first of a series that begins with it
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wake_when_due())
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._busy.add(key)
            current_object.set((self._kind, key))
            began = time.monotonic()
            await self._reconcile_once(key)
            took = time.monotonic() - began
            if took > LONG_SECONDS:
                asyncio.get_running_loop().call_later(min(took, LONGEST_REST_SECONDS), self._end_busy, key)
            else:
                self._end_busy(key)

    def _end_busy(self, key: Key) -> None:
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.wake(key)

    async def _reconcile_once(self, key: Key) -> None:
        """Reconcile a key; whatever goes wrong with it concerns it alone and is tried again later."""
        try:
            with metrics.RECONCILE_SECONDS.labels(kind=self._kind).time():
                after = await self._reconcile(key)
        except ConflictError:
            self._retry(key)  # the newer version is on its way
        except CAN_BE_TRIED_AGAIN as error:
            metrics.RECONCILE_ERRORS.labels(kind=self._kind).inc()
            logger.warning("The reconcile failed and is tried again: %s: %s", type(error).__name__, error)
            self._retry(key)
        except Exception:
            metrics.RECONCILE_ERRORS.labels(kind=self._kind).inc()
            logger.exception("The reconcile failed in an unforeseen way and is tried again")
            self._retry(key)
            if self._failures[key] == FAILURES_TOLD:
                await self._tell(key)
        else:
            self._failures.pop(key, None)
            if after is not None:
                self.wake_after(key, after)

    def _retry(self, key: Key) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        backoff = min(LONGEST_BACKOFF_SECONDS, SHORTEST_BACKOFF_SECONDS * 2 ** min(failures, 16))
        self.wake_after(key, jittered(backoff))

    async def _wake_when_due(self) -> None:
        while True:
            self._timer_changed.clear()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    self.wake(key)
            delay = self._timers[0][0] - now if self._timers else None
            try:
                await asyncio.wait_for(self._timer_changed.wait(), delay)
            except TimeoutError:
                continue
