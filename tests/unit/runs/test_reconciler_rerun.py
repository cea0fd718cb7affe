"""A run that takes over what an earlier one has done."""

from __future__ import annotations

import pytest

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import PIPELINE_RUNS
from tests.unit.builders import NOW, run_body, run_spec, step
from tests.unit.runs.run_world import PRODUCTION, RunWorld

STEPS = (step("load"), step("train", dependsOn=["load"]))
AGAIN = run_spec(*STEPS, rerunOf={"name": "wine-0"}, **PRODUCTION)


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


def earlier(world: RunWorld, **status: object) -> None:
    steps = [{"name": "load", "state": "Succeeded", "attempts": 1}, {"name": "train", "state": "Failed", "attempts": 1}]
    body: JsonObject = run_body(run_spec(*STEPS), "wine-0")
    world.apply(PIPELINE_RUNS, {**body, "status": {"startTime": NOW, "steps": steps, **status}})


async def test_it_does_what_is_left(world: RunWorld):
    earlier(world, completionTime=NOW)
    world.run(AGAIN)

    await world.reconcile()

    assert world.states() == {"load": "Succeeded", "train": "Queued"}
    assert world.jobs() == ["wine-1-train-1"]


async def test_it_waits_until_the_earlier_one_has_ended(world: RunWorld):
    earlier(world)
    world.run(AGAIN)

    await world.reconcile()

    assert world.succeeded() == ("Unknown", "EarlierRunNotReady")
    assert (
        world.status["conditions"][0]["message"]
        == "It takes over from run wine-0, which has not ended; wait for it, or cancel it."
    )
    assert world.jobs() == []


async def test_it_waits_for_an_earlier_one_that_is_not_there_yet(world: RunWorld):
    world.run(AGAIN)
    await world.reconcile()

    assert world.succeeded() == ("Unknown", "EarlierRunNotReady")
    earlier(world, completionTime=NOW)
    await world.reconcile()

    assert world.jobs() == ["wine-1-train-1"]


async def test_it_is_refused_where_it_cannot_take_over_anything(world: RunWorld):
    earlier(world, completionTime=NOW)
    world.run(run_spec(*STEPS, rerunOf={"name": "wine-0", "from": "tune"}, **PRODUCTION))

    await world.reconcile()

    assert world.succeeded() == ("False", "InvalidSpec")


async def test_nothing_is_taken_over_from_one_that_was_refused(world: RunWorld):
    refused = run_spec(step("load", forEach={"itemsFrom": "params.nope"}), step("train"))
    body = run_body(refused, "wine-0")
    world.apply(PIPELINE_RUNS, {**body, "status": {"startTime": NOW, "completionTime": NOW}})
    world.run(AGAIN)

    await world.reconcile()

    assert world.states() == {"load": "Queued", "train": "Pending"}


async def test_a_run_cannot_take_over_from_itself(world: RunWorld):
    world.run(run_spec(*STEPS, rerunOf={"name": "wine-1"}, **PRODUCTION))

    await world.reconcile()

    assert world.succeeded() == ("False", "InvalidSpec")


async def test_what_is_wrong_with_it_is_told_before_the_earlier_one_has_ended(world: RunWorld):
    earlier(world)
    world.run(run_spec(step("train", dependsOn=["laod"]), rerunOf={"name": "wine-0"}, **PRODUCTION))

    await world.reconcile()

    assert world.succeeded() == ("False", "InvalidSpec")
