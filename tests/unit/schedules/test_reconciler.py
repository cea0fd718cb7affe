from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.crd import UNSEEN
from cairn.api.time import parse
from cairn.clients.kubernetes import PIPELINE_RUNS, PIPELINE_SCHEDULES, PIPELINES
from cairn.schedules.reconciler import PipelineScheduleReconciler
from tests.unit.builders import EARLIER, pipeline_body, run_body, schedule_body
from tests.unit.clock import ManualClock
from tests.unit.fake_kubernetes import World

KEY = ("ml", "nightly")
CREATED = parse(EARLIER)
ALPHA: JsonObject = {"parameters": [{"name": "alpha", "type": "Number", "default": "0.5"}]}


class ScheduleWorld(World):
    """What happens to a schedule that was made at midnight, for every full hour."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.clock.set(CREATED)
        self.restart()

    def restart(self) -> None:
        """Start another operator, which knows nothing but the cluster."""
        self.reconciler = PipelineScheduleReconciler(self.new_view(), self.clock)

    def schedule(self, **spec: Any) -> None:
        self.apply(PIPELINE_SCHEDULES, schedule_body(spec=spec))

    def pipeline(self, **spec: Any) -> None:
        self.apply(PIPELINES, pipeline_body(spec=spec))

    async def at(self, hours: float) -> float | None:
        """Reconcile at a time of the day."""
        self.clock.set(CREATED + timedelta(hours=hours))
        self.see()
        return await self.reconciler.reconcile(KEY)

    def hours(self) -> list[float]:
        """Return the hours of the day that there are runs for."""
        times = [
            parse(run["metadata"]["annotations"]["cairn.dev/scheduled-time"])
            for run in self.kubernetes.all(PIPELINE_RUNS)
        ]
        return sorted((time - CREATED).total_seconds() / 3600 for time in times)

    def end(self, hour: int, *, reason: str = "Completed") -> None:
        """Have the run of an hour end."""
        name = f"nightly-{int((CREATED + timedelta(hours=hour)).timestamp()) // 60}"
        run = self.kubernetes.one(PIPELINE_RUNS, name)
        condition = {
            "type": "Succeeded",
            "status": "True" if reason == "Completed" else "False",
            "reason": reason,
            "message": "So it ended.",
        }
        ended = (CREATED + timedelta(hours=hour, minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.kubernetes.add(PIPELINE_RUNS, {**run, "status": {"conditions": [condition], "completionTime": ended}})

    @property
    def status(self) -> JsonObject:
        return self.kubernetes.one(PIPELINE_SCHEDULES, "nightly")["status"]

    def is_(self, type_: str) -> tuple[str, str]:
        condition = self.condition(PIPELINE_SCHEDULES, "nightly", type_)
        return condition["status"], condition["reason"]


@pytest.fixture
def world() -> ScheduleWorld:
    world = ScheduleWorld()
    world.pipeline()
    return world


async def test_nothing_is_started_before_the_first_time(world: ScheduleWorld):
    world.schedule()

    seconds = await world.at(0.99)

    assert (world.hours(), seconds) == ([], pytest.approx(36))
    assert world.status["nextScheduleTime"] == "2026-01-01T01:00:00Z"
    assert world.is_("Ready") == ("True", "Scheduled")


async def test_a_run_of_the_pipeline_is_started_at_its_time(world: ScheduleWorld):
    world.schedule()

    await world.at(1)

    (run,) = world.kubernetes.all(PIPELINE_RUNS)
    assert run["spec"]["pipeline"] == "wine"
    assert [step["name"] for step in run["spec"]["steps"]] == ["only"]
    assert run["metadata"]["labels"]["cairn.dev/schedule"] == "nightly"
    assert run["metadata"]["ownerReferences"][0]["kind"] == "PipelineSchedule"
    assert world.status["lastRun"]["name"] == run["metadata"]["name"]
    assert world.status["activeRuns"] == 1


async def test_a_time_is_run_once(world: ScheduleWorld):
    world.schedule()

    await world.at(1)
    await world.at(1.1)
    world.restart()
    await world.at(1.2)

    assert world.hours() == [1]


@pytest.mark.parametrize("policy", ["Forbid", "Replace", "Allow"])
async def test_an_operator_that_died_before_it_recorded_the_run_neither_starts_it_again_nor_skips_it(
    world: ScheduleWorld, policy: str
):
    world.schedule(concurrencyPolicy=policy)

    def die(_: JsonObject) -> None:
        raise InterruptedError

    world.kubernetes.objections["patch-status pipelineschedules"] = die
    with pytest.raises(InterruptedError):
        await world.at(1)
    world.kubernetes.objections.clear()
    world.restart()

    await world.at(1.1)

    (run,) = world.kubernetes.all(PIPELINE_RUNS)
    assert "cancel" not in run["spec"]
    assert world.status["lastRun"]["name"] == run["metadata"]["name"]
    assert ("Warning", "RunSkipped") not in world.events()


async def test_after_a_while_without_an_operator_the_latest_time_is_run(world: ScheduleWorld):
    world.schedule()
    await world.at(0.5)

    world.restart()
    await world.at(5.5)

    assert world.hours() == [5]
    assert ("Warning", "RunSkipped") in world.events()


async def test_all_times_are_caught_up_one_after_another(world: ScheduleWorld):
    world.schedule(catchUp="All")
    await world.at(3.5)
    assert world.hours() == [1]

    world.end(1)
    await world.at(3.6)
    world.end(2)
    await world.at(3.7)

    assert world.hours() == [1, 2, 3]


async def test_a_time_is_skipped_while_a_run_is_under_way(world: ScheduleWorld):
    world.schedule()
    await world.at(1)

    await world.at(2)
    world.end(1)
    await world.at(2.5)

    assert world.hours() == [1]


async def test_a_run_that_is_replaced_is_cancelled(world: ScheduleWorld):
    world.schedule(concurrencyPolicy="Replace")
    await world.at(1)

    await world.at(2)

    first, second = world.kubernetes.all(PIPELINE_RUNS)
    assert (first["spec"].get("cancel"), second["spec"].get("cancel")) == ("Graceful", None)


async def test_while_suspended_nothing_is_started_and_nothing_is_caught_up(world: ScheduleWorld):
    world.schedule(suspend=True)
    await world.at(1)
    assert world.is_("Suspended") == ("True", "Suspended")
    assert "nextScheduleTime" not in world.status

    world.schedule(suspend=False)
    await world.at(2.5)
    await world.at(3)

    assert world.hours() == [3]
    assert world.is_("Suspended") == ("False", "Active")
    assert [event for event in world.events() if event[1] in {"Suspended", "Active"}] == [
        ("Normal", "Suspended"),
        ("Normal", "Active"),
    ]


async def test_other_times_count_from_the_moment_that_they_are_seen(world: ScheduleWorld):
    world.schedule(schedule="0 0 * * *")
    await world.at(5.5)

    world.schedule(schedule="0 * * * *")
    await world.at(5.6)

    assert world.hours() == []


async def test_a_run_that_vanished_unseen_is_not_under_way(world: ScheduleWorld):
    world.schedule()
    await world.at(1)
    (run,) = world.kubernetes.all(PIPELINE_RUNS)
    del world.kubernetes.objects["pipelineruns", "ml", run["metadata"]["name"]]
    world.clock.set(CREATED + timedelta(hours=2))

    await world.reconciler.reconcile(KEY)

    assert world.hours() == [2]


async def test_a_schedule_that_was_mended_counts_from_then_on(world: ScheduleWorld):
    world.schedule(schedule="0 0 31 2 *")
    await world.at(5.5)

    world.schedule(schedule="0 * * * *")
    await world.at(5.6)

    assert world.hours() == []


async def test_a_suspended_schedule_is_written_once(world: ScheduleWorld):
    world.schedule(suspend=True)
    await world.at(1)
    world.kubernetes.requests.clear()

    await world.at(2)

    assert not world.kubernetes.requests


async def test_times_count_from_its_creation_where_the_api_server_gives_what_is_new_a_status(world: ScheduleWorld):
    world.apply(PIPELINE_SCHEDULES, {**schedule_body(), "status": UNSEEN})

    await world.at(1.5)

    assert world.hours() == [1]


async def test_one_that_can_never_start_a_run_is_stalled_until_it_is_mended(world: ScheduleWorld):
    world.schedule(schedule="0 0 31 2 *")
    await world.at(1)
    assert world.is_("Stalled") == ("True", "InvalidSpec")

    world.schedule(schedule="0 * * * *")
    await world.at(1.1)

    assert world.condition(PIPELINE_SCHEDULES, "nightly", "Stalled") is None
    assert world.events() == [("Warning", "InvalidSpec"), ("Normal", "Scheduled")]


async def test_it_waits_for_its_pipeline_and_then_catches_up(world: ScheduleWorld):
    world.kubernetes.remove(PIPELINES, "ml", "wine")
    world.schedule()
    await world.at(2)
    assert world.is_("Ready") == ("False", "PipelineNotFound")
    assert world.condition(PIPELINE_SCHEDULES, "nightly", "Stalled") is None
    assert ("Warning", "PipelineNotFound") in world.events()

    world.pipeline()
    await world.at(2.5)

    assert world.hours() == [2]


async def test_it_says_that_its_pipeline_cannot_be_run(world: ScheduleWorld):
    world.apply(PIPELINES, pipeline_body(spec={"parameters": [{"name": "alpha", "type": "Integer", "default": "x"}]}))
    world.schedule()

    await world.at(1)

    assert (world.is_("Ready"), world.hours()) == (("False", "PipelineNotReady"), [])


async def test_it_says_that_a_value_that_it_gives_cannot_be(world: ScheduleWorld):
    world.pipeline(**ALPHA)
    world.schedule(parameters=[{"name": "alpha", "value": "half"}])

    await world.at(1)

    assert (world.is_("Ready"), world.hours()) == (("False", "InvalidSpec"), [])


async def test_a_schedule_that_never_comes_says_so(world: ScheduleWorld):
    world.schedule(schedule="0 0 31 2 *")

    await world.at(1)

    assert world.is_("Ready") == ("False", "InvalidSpec")


async def test_a_value_can_be_the_time_that_the_run_is_for(world: ScheduleWorld):
    world.pipeline(parameters=[{"name": "time"}, {"name": "day"}])
    values = [{"name": "time", "value": "$(schedule.time)"}, {"name": "day", "value": "of $(schedule.date)"}]
    world.schedule(parameters=values, timeZone="Asia/Tokyo", schedule="0 3 * * *")

    await world.at(18.2)

    (run,) = world.kubernetes.all(PIPELINE_RUNS)
    assert [item["value"] for item in run["spec"]["parameters"]] == ["2026-01-01T18:00:00Z", "of 2026-01-02"]


async def test_its_stack_goes_before_that_of_the_pipeline(world: ScheduleWorld):
    world.schedule(stackRef={"name": "production"})

    await world.at(1)

    (run,) = world.kubernetes.all(PIPELINE_RUNS)
    assert run["spec"]["stackRef"] == {"name": "production"}


async def test_it_says_how_its_last_run_ended(world: ScheduleWorld):
    world.schedule()
    await world.at(1)

    world.end(1, reason="StepFailed")
    await world.at(1.5)

    assert world.is_("LastRunSucceeded") == ("False", "StepFailed")
    assert world.status["lastRun"]["reason"] == "StepFailed"
    assert world.status["activeRuns"] == 0
    assert world.events() == [("Normal", "RunStarted"), ("Normal", "Scheduled"), ("Warning", "StepFailed")]


async def test_runs_beyond_its_limits_are_deleted_oldest_first(world: ScheduleWorld):
    world.schedule(successfulRunsHistoryLimit=1, failedRunsHistoryLimit=1)
    for hour, reason in ((1, "Completed"), (2, "StepFailed"), (3, "Completed"), (4, "StepFailed")):
        await world.at(hour)
        world.end(hour, reason=reason)

    await world.at(4.5)

    assert world.hours() == [3, 4]


async def test_the_runs_of_others_are_not_its_own(world: ScheduleWorld):
    world.schedule(successfulRunsHistoryLimit=0)
    owner = {"uid": "uid-of-another", "controller": True}
    other = run_body(name="other", ownerReferences=[owner])
    ended = {"completionTime": EARLIER, "conditions": [{"type": "Succeeded", "status": "True"}]}
    world.apply(PIPELINE_RUNS, {**other, "status": ended})

    await world.at(0.5)

    assert [run["metadata"]["name"] for run in world.kubernetes.all(PIPELINE_RUNS)] == ["other"]
