from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest

from cairn.clients.kubernetes import ApiError, ConflictError
from cairn.clients.store import Key
from cairn.handlers import work_queue
from cairn.handlers.work_queue import (
    LONG_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    LONGEST_REST_SECONDS,
    OUTDATED_TIMERS,
    WorkQueue,
    current_object,
)
from tests.unit.virtual_time import now, settle

A, B = ("ml", "a"), ("ml", "b")


pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch, no_jitter: None) -> None:
    monkeypatch.setattr(work_queue, "time", SimpleNamespace(monotonic=now))


class Recorder:
    """Reconciles that take as long, and end, as the test says."""

    def __init__(self) -> None:
        self.times: dict[Key, list[float]] = defaultdict(list)
        """When each key's reconciles began."""
        self.at_work: list[Key] = []
        self.most_at_work = 0
        self.answers: dict[Key, Callable[[], Awaitable[float | None]]] = {}

    async def __call__(self, key: Key) -> float | None:
        assert key not in self.at_work, f"two reconciles of {key} at the same time"
        self.times[key].append(now())
        self.at_work.append(key)
        self.most_at_work = max(self.most_at_work, len(self.at_work))
        try:
            answer = self.answers.get(key)
            return await answer() if answer else None
        finally:
            self.at_work.remove(key)


@asynccontextmanager
async def working(recorder: Recorder, workers: int = 4) -> AsyncGenerator[WorkQueue]:
    queue = WorkQueue("Test", recorder, workers)
    task = asyncio.create_task(queue.run())
    await settle()
    yield queue
    assert not task.done(), "the queue has died"
    task.cancel()


async def takes(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def fails(error: Exception) -> None:
    raise error


async def test_a_key_that_is_woken_is_reconciled():
    recorder = Recorder()
    async with working(recorder) as queue:
        queue.wake(A)
        await settle()

    assert recorder.times == {A: [0]}


async def test_a_key_that_is_woken_often_before_its_turn_is_reconciled_once():
    recorder = Recorder()
    async with working(recorder) as queue:
        for _ in range(5):
            queue.wake(A)
        await settle()

    assert recorder.times[A] == [0]


async def test_a_key_that_is_woken_while_it_is_worked_on_is_reconciled_once_more_after_that():
    recorder = Recorder()
    recorder.answers[A] = lambda: takes(0.2)
    async with working(recorder) as queue:
        queue.wake(A)
        await asyncio.sleep(0.1)
        queue.wake(A)
        queue.wake(A)
        await asyncio.sleep(60)

    assert recorder.times[A] == [0, 0.2]


async def test_different_keys_are_worked_on_at_the_same_time():
    recorder = Recorder()
    recorder.answers = {A: lambda: takes(10), B: lambda: takes(10)}
    async with working(recorder) as queue:
        queue.wake(A)
        queue.wake(B)
        await asyncio.sleep(1)

    assert recorder.most_at_work == 2


async def test_no_more_are_worked_on_at_once_than_there_are_workers():
    recorder = Recorder()
    keys = [("ml", str(number)) for number in range(6)]
    recorder.answers = {key: lambda: takes(10) for key in keys}
    async with working(recorder, workers=2) as queue:
        for key in keys:
            queue.wake(key)
        await asyncio.sleep(100)

    assert recorder.most_at_work == 2
    assert sorted(recorder.times) == keys


class TestLater:
    async def test_a_key_is_reconciled_when_its_time_has_come(self):
        recorder = Recorder()
        async with working(recorder) as queue:
            queue.wake_after(A, 30)
            await asyncio.sleep(29)
            before = dict(recorder.times)
            await asyncio.sleep(2)

        assert (before, recorder.times) == ({}, {A: [30]})

    @pytest.mark.parametrize("delays", [(30, 10), (10, 30), (30, 10, 20)])
    async def test_the_earliest_time_counts(self, delays: tuple[int, ...]):
        recorder = Recorder()
        async with working(recorder) as queue:
            for delay in delays:
                queue.wake_after(A, delay)
            await asyncio.sleep(100)

        assert recorder.times[A] == [10]

    async def test_a_key_that_is_woken_before_its_time_is_not_reconciled_again_at_it(self):
        recorder = Recorder()
        async with working(recorder) as queue:
            queue.wake_after(A, 30)
            queue.wake(A)
            await asyncio.sleep(100)

        assert recorder.times[A] == [0]

    async def test_a_reconcile_says_when_to_look_again(self):
        recorder = Recorder()

        async def every_ten_seconds() -> float:
            return 10

        recorder.answers[A] = every_ten_seconds
        async with working(recorder) as queue:
            queue.wake(A)
            await asyncio.sleep(25)

        assert recorder.times[A] == [0, 10, 20]

    async def test_timers_that_were_overtaken_do_not_pile_up(self):
        recorder = Recorder()
        async with working(recorder) as queue:
            for _ in range(3 * OUTDATED_TIMERS):
                queue.wake_after(A, 3600)
                queue.wake(A)
                await settle()
            queue.wake_after(A, 3600)
            queue.wake_after(B, 1800)

            assert queue.timers <= OUTDATED_TIMERS + 4
            await asyncio.sleep(1801)

        assert len(recorder.times[B]) == 1

    async def test_keys_have_timers_of_their_own(self):
        recorder = Recorder()
        async with working(recorder) as queue:
            queue.wake_after(A, 20)
            queue.wake_after(B, 10)
            await asyncio.sleep(100)

        assert recorder.times == {B: [10], A: [20]}


class TestFailures:
    async def test_a_reconcile_that_fails_is_tried_again_ever_later(self):
        recorder = Recorder()
        recorder.answers[A] = lambda: fails(ApiError(500, "InternalError", "etcd"))
        async with working(recorder) as queue:
            queue.wake(A)
            await asyncio.sleep(1000)

        starts = recorder.times[A]
        waits = [later - earlier for earlier, later in pairwise(starts)]
        assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
        assert all(later > earlier - 0.001 for earlier, later in pairwise(waits))
        assert waits[-1] == pytest.approx(LONGEST_BACKOFF_SECONDS)

    async def test_success_ends_the_waiting(self):
        recorder = Recorder()
        outcomes = iter([True, True, True, False, True])

        async def answer() -> float | None:
            if next(outcomes):
                raise ApiError(500, "InternalError", "etcd")
            return 10

        recorder.answers[A] = answer
        async with working(recorder) as queue:
            queue.wake(A)
            await asyncio.sleep(10.75)

        assert recorder.times[A] == pytest.approx([0, 0.1, 0.3, 0.7, 10.7])

    @pytest.mark.parametrize(
        "error",
        [
            ApiError(503, "ServiceUnavailable", "later"),
            ConflictError(409, "Conflict", "changed"),
            TimeoutError(),
            KeyError("a mistake of ours"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_whatever_goes_wrong_with_one_key_does_not_disturb_others(self, error: Exception):
        recorder = Recorder()
        recorder.answers[A] = lambda: fails(error)
        async with working(recorder, workers=1) as queue:
            queue.wake(A)
            queue.wake(B)
            await asyncio.sleep(1)

        assert recorder.times[B] == [0]
        assert len(recorder.times[A]) > 1

    async def test_a_failing_key_that_changes_is_reconciled_at_once(self):
        recorder = Recorder()
        recorder.answers[A] = lambda: fails(ApiError(500, "InternalError", "etcd"))
        async with working(recorder) as queue:
            queue.wake(A)
            await asyncio.sleep(100)
            count = len(recorder.times[A])
            queue.wake(A)
            await settle()

        assert len(recorder.times[A]) == count + 1


async def test_the_log_knows_what_is_being_reconciled():
    seen: list[tuple[str, Key] | None] = []
    recorder = Recorder()

    async def look() -> None:
        seen.append(current_object.get())

    recorder.answers = {A: look, B: look}
    async with working(recorder, workers=1) as queue:
        queue.wake(A)
        queue.wake(B)
        await settle()

    assert seen == [("Test", A), ("Test", B)]


class TestRest:
    """After a reconcile that took long its key is left alone for as long."""

    @staticmethod
    async def woken_throughout(seconds: float) -> list[float]:
        """Return when the reconciles of a key begin that take that long, and that is woken all the time."""
        recorder = Recorder()
        recorder.answers[A] = lambda: takes(seconds)
        async with working(recorder) as queue:
            end = now() + 100 * seconds
            while now() < end:
                queue.wake(A)
                await asyncio.sleep(seconds / 10)
        return recorder.times[A]

    @pytest.mark.parametrize(
        ("took", "pause"),
        [
            (LONG_SECONDS / 2, LONG_SECONDS / 2),
            (LONG_SECONDS * 2, LONG_SECONDS * 4),
            (LONGEST_REST_SECONDS * 2, LONGEST_REST_SECONDS * 3),
        ],
    )
    async def test_is_as_long_as_that_took_and_no_longer_than_the_longest(self, took: float, pause: float):
        times = await self.woken_throughout(took)

        assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx(
            [pause] * (len(times) - 1), rel=0.2
        )

    async def test_of_one_key_is_none_of_others(self):
        recorder = Recorder()
        recorder.answers[A] = lambda: takes(LONGEST_REST_SECONDS)
        async with working(recorder, workers=1) as queue:
            queue.wake(A)
            await asyncio.sleep(LONGEST_REST_SECONDS)
            queue.wake(A)
            queue.wake(B)
            await settle()

            assert (len(recorder.times[A]), len(recorder.times[B])) == (1, 1)

    async def test_delays_nothing_once_it_is_over(self):
        recorder = Recorder()
        recorder.answers[A] = lambda: takes(LONGEST_REST_SECONDS)
        async with working(recorder) as queue:
            queue.wake(A)
            await asyncio.sleep(LONGEST_REST_SECONDS * 2.5)
            queue.wake(A)
            await settle()

        assert recorder.times[A] == [0, LONGEST_REST_SECONDS * 2.5]
