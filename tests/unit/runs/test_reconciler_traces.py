"""When a run is traced, seen from its reconciles."""

from __future__ import annotations

import pytest

from cairn.clients.kubernetes import PIPELINE_RUNS
from cairn.clients.tracing import Trace
from tests.unit.builders import run_body, run_spec, step
from tests.unit.runs.run_world import PRODUCTION, RunWorld

UID = "2f1c9a54-6d0e-4a63-9d7b-0d3b8a1f5c11"


@pytest.fixture
def sent() -> list[Trace]:
    return []


@pytest.fixture
def world(sent: list[Trace]) -> RunWorld:
    """A run that has begun, of an operator that has a collector."""
    world = RunWorld()
    world.send_trace = sent.append
    world.restart()
    world.apply(PIPELINE_RUNS, run_body(run_spec(step("only"), **PRODUCTION), uid=UID))
    return world


async def ends(world: RunWorld) -> None:
    await world.reconcile()
    world.put(world.pod(world.jobs()[0]).all_end_well())
    await world.reconcile()


async def test_a_run_is_traced_when_it_has_ended(world: RunWorld, sent: list[Trace]):
    await world.reconcile()
    assert not sent

    await ends(world)
    await world.reconcile()

    assert [(trace.root.name, [part.name for part in trace.parts]) for trace in sent] == [("RUN wine", ["only"])]


async def test_a_run_whose_operator_dies_at_its_end_is_traced_by_the_next(world: RunWorld, sent: list[Trace]):
    await ends(world)
    assert not sent

    world.restart()
    await world.reconcile()

    assert len(sent) == 1


async def test_a_run_that_is_traced_again_has_the_same_ids(world: RunWorld, sent: list[Trace]):
    await ends(world)
    await world.reconcile()

    world.restart()
    await world.reconcile()

    once, again = sent
    assert once == again
