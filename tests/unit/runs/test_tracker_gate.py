"""What happens to requests while their tracker is silent."""

from __future__ import annotations

import asyncio

import pytest

from cairn.components.records import TrackerClient, TrackerError
from cairn.runs.tracker_gate import LONGEST_PAUSE_SECONDS, REQUESTS_AT_ONCE, TOLD_AFTER_SECONDS, TrackerGate
from tests.unit.fake_tracker import AWAY, REFUSED, FakeTracker
from tests.unit.virtual_time import settle

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_jitter")]


class Way:
    """A gate, the tracker behind it, and what was told."""

    def __init__(self) -> None:
        self.tracker = FakeTracker()
        self.told: list[TrackerError | None] = []
        self.gate = TrackerGate(self._connect, lambda: self.told.append(self.gate.problem))

    async def _connect(self) -> TrackerClient:
        return self.tracker

    async def ask(self, name: str = "wine") -> str:
        return await self.gate.ask(lambda client: client.experiment(name))

    def begin(self, name: str = "wine") -> asyncio.Task[str]:
        return asyncio.create_task(self.ask(name))


async def test_a_request_is_answered():
    assert await Way().ask() == "experiment-0"


async def test_a_request_is_asked_again_until_the_tracker_is_back():
    way = Way()
    way.tracker.problem = AWAY
    asking = way.begin()
    await asyncio.sleep(100)
    was_done = asking.done()
    way.tracker.problem = None

    answer = await asking

    assert (was_done, answer) == (False, "experiment-0")


async def test_while_a_tracker_is_silent_one_asks_for_all():
    way = Way()
    way.tracker.problem = AWAY
    asking = [way.begin(f"wine-{number}") for number in range(100)]
    await asyncio.sleep(1000)
    asked = len(way.tracker.asked)
    way.tracker.problem = None

    answers = await asyncio.gather(*asking)

    assert len(set(answers)) == 100
    assert asked < REQUESTS_AT_ONCE + 1000 / LONGEST_PAUSE_SECONDS + 10


async def test_when_the_one_that_asks_gives_up_another_one_does():
    way = Way()
    way.tracker.problem = AWAY
    asking = [way.begin(f"wine-{number}") for number in range(3)]
    await asyncio.sleep(100)
    (asker,) = set(way.tracker.asked[-2:])
    asking[int(asker[-1])].cancel()
    way.tracker.problem = None

    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert sum(isinstance(answer, str) for answer in answers) == 2


async def test_a_refusal_is_the_answer_to_that_request_alone():
    way = Way()
    way.tracker.refused = {"beer"}

    with pytest.raises(TrackerError, match=REFUSED.message):
        await way.ask("beer")

    assert await way.ask("wine")
    assert way.told == []


async def test_a_refusal_also_says_that_the_tracker_is_back():
    way = Way()
    way.tracker.problem = AWAY
    asking = way.begin("beer")
    await asyncio.sleep(100)
    way.tracker.problem = REFUSED

    with pytest.raises(TrackerError, match=REFUSED.message):
        await asking

    assert way.gate.problem is None


async def test_no_more_requests_are_under_way_than_allowed():
    way = Way()
    way.tracker.answers.clear()
    asking = [way.begin(f"wine-{number}") for number in range(3 * REQUESTS_AT_ONCE)]
    await settle()
    asked = len(way.tracker.asked)
    way.tracker.answers.set()
    await asyncio.gather(*asking)

    assert asked == REQUESTS_AT_ONCE


class TestTelling:
    async def test_nobody_is_told_of_a_tracker_that_is_restarted(self):
        way = Way()
        way.tracker.problem = AWAY
        asking = way.begin()
        await asyncio.sleep(TOLD_AFTER_SECONDS - 5)
        way.tracker.problem = None
        await asking

        assert way.told == []

    async def test_people_are_told_once_of_one_that_is_silent_for_long_and_when_it_is_back(self):
        way = Way()
        way.tracker.problem = AWAY
        asking = way.begin()
        await asyncio.sleep(1000)
        way.tracker.problem = None
        await asking

        assert way.told == [AWAY, None]


class TestPromptness:
    async def test_a_tracker_that_fails_is_not_waited_for(self):
        way = Way()
        way.tracker.problem = AWAY
        asking = way.begin()
        await asyncio.sleep(1)
        was_prompt = way.gate.is_prompt
        way.tracker.problem = None
        await asking

        assert (was_prompt, way.gate.is_prompt) == (False, True)

    async def test_one_that_was_waited_for_in_vain_is_waited_for_again_when_it_has_answered(self):
        way = Way()
        way.gate.is_prompt = False

        await way.ask()

        assert way.gate.is_prompt
