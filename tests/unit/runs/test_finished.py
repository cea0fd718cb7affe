from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cairn.clients.kubernetes import PIPELINE_RUNS, STACKS
from tests.unit.builders import RUN, run_body, run_spec, stack_body, step
from tests.unit.fake_tracker import AWAY
from tests.unit.runs.run_world import RunWorld

PRODUCTION = {"stackRef": {"name": "production"}}
TRACKED = {"stackRef": {"name": "tracked"}}


async def ended(world: RunWorld, **fields: Any) -> None:
    """Have a run end well."""
    world.run(run_spec(step("only"), **{**PRODUCTION, **fields}))
    await world.reconcile()
    world.put(world.pod(world.jobs()[0]).all_end_well())
    await world.reconcile()


def keep(world: RunWorld, **fields: int) -> None:
    stack = stack_body("production")
    stack["spec"] |= fields
    world.apply(STACKS, stack)


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


async def test_the_jobs_of_a_run_are_deleted_in_one_request_when_the_stack_keeps_them_no_longer(world: RunWorld):
    keep(world, keepJobsSeconds=60)
    await ended(world)
    assert await world.reconcile() == 60

    world.clock.advance(60)
    await world.reconcile()

    assert world.jobs() == []
    assert world.kubernetes.requests["deletecollection jobs"] == 1
    assert world.kubernetes.requests["delete jobs"] == 0


async def test_a_run_without_jobs_is_not_looked_at_again(world: RunWorld):
    keep(world, keepJobsSeconds=0)
    await ended(world)
    await world.reconcile()

    assert await world.reconcile() is None
    assert world.kubernetes.requests["deletecollection jobs"] == 1


async def test_a_run_is_deleted_when_it_expires(world: RunWorld):
    await ended(world, ttlSecondsAfterFinished=90)
    assert await world.reconcile() == 90

    world.clock.advance(90)
    await world.reconcile()

    assert world.kubernetes.all(PIPELINE_RUNS) == []


async def test_nothing_of_a_run_that_has_not_ended_is_deleted(world: RunWorld):
    keep(world, keepJobsSeconds=0, successfulRunsHistoryLimit=0, failedRunsHistoryLimit=0)
    world.run(run_spec(step("only"), **PRODUCTION, ttlSecondsAfterFinished=0))
    await world.reconcile()

    world.clock.advance(500)
    await world.reconcile()

    assert len(world.jobs()) == 1
    assert world.kubernetes.one(PIPELINE_RUNS, RUN.name)


async def test_a_run_that_ends_in_the_second_in_which_the_last_ones_were_counted_counts_too(world: RunWorld):
    keep(world, successfulRunsHistoryLimit=1)
    await ended(world)
    await world.reconcile()
    later = world.kubernetes.one(PIPELINE_RUNS, RUN.name)
    later = {**later, "metadata": {**later["metadata"], "name": "wine-2", "uid": "of-wine-2"}}
    key = world.apply(PIPELINE_RUNS, later)

    await world.reconcile(key)

    assert len(world.kubernetes.all(PIPELINE_RUNS)) == 1


@pytest.mark.parametrize("ends", ["by its time", "by the history"])
async def test_a_run_is_spared_while_another_waits_to_take_over_from_it(world: RunWorld, ends: str):
    keep(world, **({"successfulRunsHistoryLimit": 0} if ends == "by the history" else {}))
    waiting = run_body(run_spec(step("only"), **PRODUCTION, rerunOf={"name": RUN.name, "from": "only"}), "wine-2")
    key = world.apply(PIPELINE_RUNS, waiting)
    await ended(world, **({"ttlSecondsAfterFinished": 0} if ends == "by its time" else {}))
    await world.reconcile()
    assert world.kubernetes.one(PIPELINE_RUNS, RUN.name)

    await world.reconcile(key)
    world.clock.advance(10)
    await world.reconcile()

    assert RUN.name not in [run["metadata"]["name"] for run in world.kubernetes.all(PIPELINE_RUNS)]


async def test_runs_beyond_the_stack_s_history_are_deleted(world: RunWorld):
    keep(world, successfulRunsHistoryLimit=0)
    await ended(world)

    await world.reconcile()

    assert world.kubernetes.all(PIPELINE_RUNS) == []


class TestRunsThatAreNotRecorded:
    """Are kept for a day, so that they can be: what happened is known from nothing else."""

    @pytest.fixture
    def world(self) -> Iterator[RunWorld]:
        world = RunWorld()
        world.tracker.problem = AWAY
        yield world
        world.reconciler.stop()

    async def test_though_they_expire(self, world: RunWorld):
        await ended(world, ttlSecondsAfterFinished=90, **TRACKED)
        world.clock.advance(100)
        await world.reconcile()
        kept = world.runs()

        world.clock.advance(24 * 3600)
        await world.reconcile()

        assert (kept, world.runs()) == ([RUN.name], [])

    async def test_though_they_are_too_many(self, world: RunWorld):
        stack = stack_body("tracked", tracker="mlflow")
        stack["spec"]["successfulRunsHistoryLimit"] = 0
        world.apply(STACKS, stack)
        await ended(world, **TRACKED)
        await world.reconcile()
        kept = world.runs()

        world.clock.advance(24 * 3600)
        await world.reconcile()

        assert (kept, world.runs()) == ([RUN.name], [])

    async def test_no_longer_than_until_they_are(self, world: RunWorld):
        world.tracker.problem = None
        await ended(world, ttlSecondsAfterFinished=90, **TRACKED)
        world.clock.advance(90)
        await world.reconcile()

        assert world.runs() == []
