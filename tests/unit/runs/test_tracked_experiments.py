"""How the experiments are found that runs are recorded in."""

from __future__ import annotations

import asyncio

import pytest

from cairn.components.records import TrackerClient, TrackerError
from cairn.runs.tracked_experiments import KNOWN_SECONDS, TrackedExperiments
from cairn.runs.tracker_gate import TrackerGate
from tests.unit.fake_tracker import REFUSED, FakeTracker
from tests.unit.virtual_time import settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def tracker() -> FakeTracker:
    return FakeTracker()


@pytest.fixture
def experiments(tracker: FakeTracker) -> TrackedExperiments:
    async def connect() -> TrackerClient:
        return tracker

    return TrackedExperiments(TrackerGate(connect, lambda: None))


async def test_runs_that_begin_at_the_same_time_ask_once(experiments: TrackedExperiments, tracker: FakeTracker):
    found = await asyncio.gather(*(experiments.id_of("wine") for _ in range(20)))

    assert set(found) == {"experiment-0"}
    assert tracker.asked == ["experiment wine"]


async def test_each_has_its_own(experiments: TrackedExperiments):
    assert await experiments.id_of("wine") != await experiments.id_of("beer")


async def test_one_that_is_refused_is_asked_for_again(experiments: TrackedExperiments, tracker: FakeTracker):
    tracker.refused.add("wine")
    with pytest.raises(TrackerError, match=REFUSED.message):
        await experiments.id_of("wine")
    tracker.refused.clear()

    assert await experiments.id_of("wine") == "experiment-0"


async def test_one_is_asked_for_again_where_the_run_is_let_go_that_asks(
    experiments: TrackedExperiments, tracker: FakeTracker
):
    tracker.answers.clear()
    asking, waiting = (asyncio.create_task(experiments.id_of("wine")) for _ in range(2))
    await settle()

    asking.cancel()
    tracker.answers.set()

    assert await waiting == "experiment-0"


async def test_one_that_is_forgotten_is_asked_for_again(experiments: TrackedExperiments, tracker: FakeTracker):
    await experiments.id_of("wine")
    experiments.forget("wine")

    await experiments.id_of("wine")

    assert tracker.asked == ["experiment wine"] * 2


async def test_one_may_be_renamed_by_and_by(experiments: TrackedExperiments, tracker: FakeTracker):
    first = await experiments.id_of("wine")
    tracker.experiments["beer"] = tracker.experiments.pop("wine")
    tracker.experiments["wine"] = "another"

    assert await experiments.id_of("wine") == first
    await asyncio.sleep(KNOWN_SECONDS)  # of virtual time, which is what makes it forget
    assert await experiments.id_of("wine") == "another"
