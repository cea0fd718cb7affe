"""Runs and the stack that they wait for, start on, and go on with."""

from __future__ import annotations

import pytest

from cairn.clients.kubernetes import CLAIMS, PIPELINE_RUNS, STACK_COMPONENTS, STACKS, STORAGE_CLASSES
from tests.unit.builders import BUCKET_SPEC, GPU_SPEC, RUN, component_body, run_spec, stack_body, step
from tests.unit.runs.run_world import PRODUCTION, RunWorld


@pytest.fixture
def world() -> RunWorld:
    return RunWorld()


async def test_a_run_waits_for_a_stack_that_is_not_there(world: RunWorld):
    world.run(run_spec(stackRef={"name": "later"}))

    again = await world.reconcile()

    assert again == 10
    assert world.succeeded() == ("Unknown", "StackNotReady")
    assert "startTime" not in world.status


async def test_a_run_starts_when_its_stack_comes(world: RunWorld):
    world.run(run_spec(stackRef={"name": "later"}))
    await world.reconcile()
    world.apply(STACKS, stack_body("later"))

    await world.reconcile()

    assert world.succeeded() == ("Unknown", "Running")
    assert world.events() == [("Normal", "StackNotReady")]


async def test_what_runs_goes_on_while_the_stack_is_broken_and_nothing_new_starts(world: RunWorld):
    world.run(run_spec(step("a"), step("b", dependsOn=["a"]), **PRODUCTION))
    await world.reconcile()
    world.put(world.pod("wine-1-a-1").all_end_well())
    world.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=False))

    again = await world.reconcile()

    assert again == 10
    assert world.states() == {"a": "Succeeded", "b": "Pending"}
    assert world.succeeded() == ("Unknown", "StackNotReady")


async def test_nothing_new_starts_on_a_stack_that_has_changed_so_that_it_does_not_fit_any_more(world: RunWorld):
    world.apply(STACK_COMPONENTS, component_body("gpu", GPU_SPEC, ready=True))
    with_gpu = stack_body("production")
    with_gpu["spec"]["stepOperatorRefs"] = [{"name": "gpu"}]
    world.apply(STACKS, with_gpu)
    world.run(run_spec(step("a"), step("b", dependsOn=["a"], stepOperatorRef={"name": "gpu"}), **PRODUCTION))
    await world.reconcile()
    world.put(world.pod("wine-1-a-1").all_end_well())
    world.apply(STACKS, stack_body("production"))

    again = await world.reconcile()

    assert (world.jobs(), again) == (["wine-1-a-1"], 10)
    assert world.succeeded() == ("Unknown", "StackNotReady")
    assert "has no step operator gpu" in world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]


async def test_a_run_goes_on_with_a_stack_that_has_changed_and_still_fits(world: RunWorld):
    world.run(run_spec(step("a"), step("b", dependsOn=["a"]), **PRODUCTION))
    await world.reconcile()
    world.put(world.pod("wine-1-a-1").all_end_well())
    changed = stack_body("production")
    changed["spec"]["env"] = [{"name": "REGION", "value": "eu"}]
    world.apply(STACKS, changed)

    await world.reconcile()

    assert world.states() == {"a": "Succeeded", "b": "Queued"}


async def test_without_any_stack_a_run_uses_the_built_in_one(world: RunWorld):
    world.kubernetes.add(STORAGE_CLASSES, {"metadata": {"name": "standard"}})
    world.kubernetes.add(
        CLAIMS,
        {
            "metadata": {
                "namespace": "ml",
                "name": "cairn-default",
                "labels": {"app.kubernetes.io/managed-by": "cairn", "cairn.dev/component": "default"},
            },
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            "status": {"phase": "Bound"},
        },
    )
    world.run(run_spec(step("only")))

    await world.reconcile()

    assert world.status["stack"]["name"] == "default"
    assert world.jobs() == ["wine-1-only-1"]


async def test_a_run_waits_for_the_built_in_stack_s_claim(world: RunWorld):
    world.run(run_spec(step("only")))

    await world.reconcile()

    assert world.succeeded() == ("Unknown", "StackNotReady")
    assert "The built-in stack is not ready" in world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]
