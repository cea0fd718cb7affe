"""How one run comes to be held by its tracker, whatever the tracker does meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from cairn.components.records import Dataset, Metric, Record, TrackerClient
from cairn.runs.tracked_experiments import KNOWN_SECONDS, TrackedExperiments
from cairn.runs.tracked_run import LATE_SECONDS, TrackedRun
from cairn.runs.tracker_gate import TrackerGate
from cairn.runs.tracking_records import ATTEMPT_TAG, RECORD_TAG, RUN, STEP_TAG, UID_TAG, RecordOf
from tests.unit.fake_tracker import AWAY, REFUSED, FakeTracker
from tests.unit.virtual_time import settle

UID = {UID_TAG: "uid-1"}
WINE = Record("wine-1", 1000, {**UID, RECORD_TAG: "Run"}, {"alpha": "0.5"})
TRAIN: RecordOf = ("train", 1)
OF_TRAIN = {**UID, STEP_TAG: "train", ATTEMPT_TAG: "1"}
TRAINING = Record(
    "train", 1000, {**OF_TRAIN, RECORD_TAG: "Attempt"}, datasets=(Dataset("data", "s3://b/data", "sha256:1"),)
)
TRAINED = replace(
    TRAINING, state="FINISHED", ended=2000, closing_tags={"pod": "p"}, metrics=(Metric("rmse", 0.5, 2000),)
)
KILLED = replace(TRAINING, state="KILLED", ended=2000, closing_tags={"reason": "Evicted"})
ENDED = replace(WINE, state="FINISHED", ended=3000, closing_tags={"reason": "Completed"})


pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("no_jitter")]


class World:
    """A run, its tracker, and how often it was told that there is news."""

    def __init__(self, tracker: FakeTracker | None = None) -> None:
        self.tracker = tracker or FakeTracker()
        self.told = 0
        self._gate = TrackerGate(self._connect, self._tell)
        self._experiments = TrackedExperiments(self._gate)
        self.run = TrackedRun("uid-1", "wine", self._gate, self._experiments, self._tell, is_new=tracker is None)

    def another(self, uid: str) -> TrackedRun:
        """Return another run at the same tracker."""
        return TrackedRun(uid, "wine", self._gate, self._experiments, self._tell, is_new=True)

    async def _connect(self) -> TrackerClient:
        return self.tracker

    def _tell(self) -> None:
        self.told += 1


async def recorded() -> World:
    """Return a run that has ended, all of which is held."""
    world = World()
    world.run.want({RUN: ENDED, TRAIN: TRAINED})
    await settle()
    assert world.run.is_recorded
    return world


async def test_a_run_and_its_attempts_are_held_from_their_beginning():
    world = World()

    world.run.want({RUN: WINE, TRAIN: TRAINING})
    await settle()

    run, attempt = world.tracker.named("wine-1"), world.tracker.named("train")
    assert (run.state, run.params, run.parent) == ("RUNNING", {"alpha": "0.5"}, None)
    assert (attempt.state, attempt.datasets) == ("RUNNING", ["data"])
    assert attempt.parent == world.run.ids[RUN]
    assert world.run.place == ("experiment-0", world.run.ids[RUN])


async def test_how_they_ended_is_held():
    world = World()
    world.run.want({RUN: WINE, TRAIN: TRAINING})
    await settle()

    world.run.want({RUN: ENDED, TRAIN: TRAINED})
    await settle()

    attempt = world.tracker.named("train")
    assert (attempt.state, attempt.ended, attempt.metrics, attempt.tags["pod"]) == (
        "FINISHED",
        2000,
        {"rmse": 0.5},
        "p",
    )
    assert world.tracker.named("wine-1").state == "FINISHED"
    assert world.run.is_recorded


async def test_a_run_takes_few_requests():
    world = World()
    for records in ({RUN: WINE}, {TRAIN: TRAINING}, {TRAIN: TRAINED}, {RUN: ENDED}, {RUN: ENDED, TRAIN: TRAINED}):
        world.run.want(records)
        await settle()

    assert world.tracker.asked == [
        *("experiment wine", "create wine-1", "describe wine-1"),
        *("create train", "describe train", "finish train", "finish wine-1", "find"),
    ]


async def test_it_is_not_recorded_before_its_end():
    world = World()
    world.run.want({RUN: WINE, TRAIN: TRAINED})
    await settle()

    assert not world.run.is_recorded


class TestAnotherOperator:
    """Goes on with what the one before it has written."""

    async def test_writes_nothing_twice(self):
        before = await recorded()
        after = World(before.tracker)

        after.run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert [held.name for held in before.tracker.held.values()] == ["wine-1", "train"]
        assert after.run.ids == before.run.ids
        assert after.run.is_recorded

    async def test_asks_only_what_there_is_where_all_is_written(self):
        before = await recorded()
        before.tracker.asked.clear()

        after = World(before.tracker)
        after.run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert before.tracker.asked == ["experiment wine", "find", "find"]

    async def test_ends_what_the_one_before_it_left_open(self):
        before = World()
        before.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        before.run.stop()

        World(before.tracker).run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert [held.state for held in before.tracker.held.values()] == ["FINISHED", "FINISHED"]

    async def test_ends_what_a_step_has_ended_by_itself_with_what_is_known_of_it(self):
        before = World()
        before.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        before.run.stop()
        before.tracker.named("train").state = "FINISHED"

        World(before.tracker).run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert before.tracker.named("train").tags["pod"] == "p"


async def test_what_an_operator_left_that_has_died_before_it_told_of_the_run_is_deleted():
    world = World()
    world.tracker.put("wine-1", WINE.tags)

    world.run.want({RUN: ENDED, TRAIN: TRAINED})
    await settle()

    assert [(held.name, held.state) for held in world.tracker.held.values()] == [
        ("wine-1", "FINISHED"),
        ("train", "FINISHED"),
    ]


async def test_what_another_operator_at_work_by_mistake_has_recorded_stays():
    world = World()
    world.run.want({RUN: WINE, TRAIN: TRAINING})
    await settle()
    other = world.tracker.put("train", TRAINING.tags, parent=world.run.ids[RUN])
    other.metrics["accuracy"] = 0.9

    world.run.want({RUN: ENDED, TRAIN: TRAINED})
    await settle()

    assert other in world.tracker.held.values()
    assert world.run.is_recorded


async def test_a_run_stays_in_its_experiment_whoever_gets_the_name_meanwhile():
    world = World()
    world.run.want({RUN: WINE})
    await settle()
    before = world.run.place
    world.tracker.experiments["wine"] = "another"

    await asyncio.sleep(2 * KNOWN_SECONDS)  # of virtual time: whoever asked anew would get the other one
    world.run.want({RUN: ENDED, TRAIN: TRAINED})
    await settle()

    assert world.run.place == before
    assert world.tracker.asked.count("experiment wine") == 1


async def test_a_run_that_is_gone_disturbs_no_other_one():
    world = World()
    one, another = (world.another(uid) for uid in ("uid-2", "uid-3"))
    for run in (one, another):
        run.want({RUN: WINE})
    await settle()
    del world.tracker.held[one.ids[RUN]]

    one.want({RUN: ENDED})
    another.want({RUN: ENDED})
    await settle()

    assert (one.is_recorded, another.is_recorded, one.problem, another.problem) == (True, True, None, None)


class TestIds:
    async def test_are_waited_for(self):
        world = World()
        world.run.want({RUN: WINE, TRAIN: TRAINING})

        assert await world.run.ids_of([TRAIN], 0.2) == {TRAIN: world.run.ids[TRAIN]}

    async def test_of_a_slow_tracker_are_not_waited_for_for_long_and_only_once(self):
        world = World()
        world.tracker.answers.clear()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        began = asyncio.get_running_loop().time()

        first = await world.run.ids_of([TRAIN], 0.2)
        second = await world.run.ids_of([TRAIN], 0.2)

        assert (first, second) == ({}, {})
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.2)

    async def test_of_a_silent_tracker_are_not_waited_for(self):
        world = World()
        world.tracker.problem = AWAY
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        began = asyncio.get_running_loop().time()

        assert await world.run.ids_of([TRAIN], 0.2) == {}
        assert asyncio.get_running_loop().time() == began

    async def test_that_come_too_late_are_told(self):
        world = World()
        world.tracker.answers.clear()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await world.run.ids_of([TRAIN], 0.2)
        world.tracker.answers.set()
        await settle()

        assert world.told == 1


class TestSilentTracker:
    async def test_what_was_missed_is_written_when_it_is_back(self):
        world = World()
        world.tracker.problem = AWAY
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await asyncio.sleep(100)
        world.run.want({RUN: ENDED, TRAIN: TRAINED})
        problem = world.run.problem
        world.tracker.problem = None
        await asyncio.sleep(2 * LATE_SECONDS)

        assert problem is AWAY
        assert [(held.name, held.state) for held in world.tracker.held.values()] == [
            ("wine-1", "FINISHED"),
            ("train", "FINISHED"),
        ]
        assert (world.run.is_recorded, world.run.problem) == (True, None)

    async def test_a_record_that_was_made_without_an_answer_is_not_made_again(self):
        world = World()
        world.tracker.loses_answers = True
        world.run.want({RUN: WINE})
        await settle()
        world.tracker.loses_answers = False
        await asyncio.sleep(10)

        assert [held.name for held in world.tracker.held.values()] == ["wine-1"]

    async def test_one_that_was_made_after_all_when_it_was_made_again_is_deleted(self):
        world = World()
        world.tracker.problem = AWAY
        await self._refused_once(world)
        world.run.want({RUN: ENDED})
        await asyncio.sleep(10)
        world.tracker.put("wine-1", WINE.tags)

        await asyncio.sleep(2 * LATE_SECONDS)

        assert [held.state for held in world.tracker.held.values()] == ["FINISHED"]
        assert world.run.is_recorded

    @staticmethod
    async def _refused_once(world: World) -> None:
        """Have the run's record asked for without an answer."""
        world.tracker.problem = None
        world.tracker.loses_answers = True
        world.run.want({RUN: WINE})
        await settle()
        world.tracker.loses_answers = False
        world.tracker.held.clear()


class TestRefusal:
    async def test_of_one_record_keeps_no_other_from_being_held(self):
        world = World()
        world.tracker.refused = {"train"}
        other: RecordOf = ("load", 1)
        loading = replace(TRAINED, name="load", tags={**UID, STEP_TAG: "load", ATTEMPT_TAG: "1", RECORD_TAG: "Attempt"})
        world.run.want({RUN: WINE, TRAIN: TRAINED, other: loading})
        await settle()

        assert (world.run.problem, world.told) == (REFUSED, 1)
        assert world.tracker.named("load").state == "FINISHED"
        world.run.stop()

    async def test_is_asked_about_again_ever_more_rarely(self):
        world = World()
        world.tracker.refused = {"train"}
        world.run.want({RUN: ENDED, TRAIN: TRAINED})
        await asyncio.sleep(24 * 3600)
        asked = world.tracker.asked.count("create train")
        world.tracker.refused = set()
        await asyncio.sleep(3600)

        assert asked < 60
        assert world.run.is_recorded
        assert world.run.problem is None

    async def test_what_somebody_has_deleted_is_made_anew(self):
        world = World()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        world.tracker.held.clear()

        world.run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert [held.state for held in world.tracker.held.values()] == ["FINISHED", "FINISHED"]


class TestRecordsOfTheStepsCode:
    async def test_what_a_step_that_was_killed_left_open_is_ended_below_its_record(self):
        world = World()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        own = world.tracker.put("trial", OF_TRAIN, parent=world.run.ids[TRAIN])

        world.run.want({RUN: ENDED, TRAIN: KILLED})
        await settle()

        assert (own.state, own.ended, own.parent) == ("KILLED", 2000, world.run.ids[TRAIN])

    async def test_what_a_step_recorded_that_was_not_told_where_is_its_record(self):
        world = World()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        own = world.tracker.put("sleepy-fox", OF_TRAIN, parent=world.run.ids[RUN], state="FINISHED")
        own.metrics["accuracy"] = 0.9

        world.run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert world.tracker.named("train") is own
        assert own.metrics == {"accuracy": 0.9, "rmse": 0.5}
        assert (own.parent, own.tags["pod"], own.datasets) == (world.run.ids[RUN], "p", ["data"])
        assert world.run.is_recorded

    async def test_what_else_such_a_step_recorded_is_below_that(self):
        world = World()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        own, other = (world.tracker.put(name, OF_TRAIN) for name in ("sleepy-fox", "brave-owl"))

        world.run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert world.tracker.held[other.parent or ""] is own
        assert (own.name, other.name, other.state) == ("train", "brave-owl", "FINISHED")

    async def test_another_operator_goes_on_with_it_where_one_was_interrupted(self):
        before = World()
        before.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        before.run.stop()
        own = before.tracker.put("sleepy-fox", OF_TRAIN, state="FINISHED")
        del before.tracker.held[before.run.ids[TRAIN]]

        World(before.tracker).run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert before.tracker.named("train") is own

    async def test_what_ended_below_its_record_is_left_alone(self):
        world = World()
        world.run.want({RUN: WINE, TRAIN: TRAINING})
        await settle()
        world.tracker.put("trial", OF_TRAIN, parent=world.run.ids[TRAIN], state="FINISHED")

        world.run.want({RUN: ENDED, TRAIN: TRAINED})
        await settle()

        assert "adopt trial" not in world.tracker.asked


async def test_what_was_open_of_a_run_that_is_deleted_is_killed():
    world = World()
    world.run.want({RUN: WINE, TRAIN: TRAINING})
    await settle()

    world.run.end(5000, "Deleted")
    await settle()

    assert {(held.state, held.ended) for held in world.tracker.held.values()} == {("KILLED", 5000)}
    assert world.run.is_recorded


async def test_a_mistake_of_ours_is_told_and_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch):
    world = World()
    with monkeypatch.context() as patch:
        patch.setattr(world.tracker, "create", None)
        world.run.want({RUN: WINE})
        await settle()
        problem = world.run.problem
    await asyncio.sleep(60)

    assert problem is not None
    assert problem.reason == "TrackingFailed"
    assert world.tracker.named("wine-1")
