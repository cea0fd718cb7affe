"""Runs that are cancelled or deleted, and what holds them until they have ended on Kubeflow Pipelines."""

from __future__ import annotations

import asyncio

import pytest

from cairn.api.base import FINALIZER
from cairn.clients.kubernetes import PIPELINE_RUNS, SECRETS, STACK_COMPONENTS
from tests.unit.builders import RUN, step
from tests.unit.runs.kubeflow.kubeflow_world import SHELL, KubeflowWorld, on_kubeflow


async def test_a_run_that_is_cancelled_ends_there_too(world: KubeflowWorld):
    steps = [step("hangs", **SHELL), step("after", dependsOn=["hangs"], **SHELL)]
    last = {"finally": [step("last", **SHELL)]}
    world.run(on_kubeflow(*steps, **last))
    await world.goes_on()
    await world.goes_on(60)
    assert world.states()["hangs"] == "Running"

    world.run(on_kubeflow(*steps, **last, cancel="Graceful"))
    await world.goes_on()
    await world.goes_on(60)

    assert world.succeeded() == ("False", "Cancelled")
    assert world.states() == {"hangs": "Cancelled", "after": "Cancelled", "last": "Cancelled"}
    assert world.of_kubeflow.state == "FAILED"


@pytest.mark.parametrize("cancel", ["Graceful", "Immediate"])
async def test_a_run_that_is_cancelled_between_two_steps_ends_there(world: KubeflowWorld, cancel: str):
    steps = [step("load", **SHELL), step("hangs", dependsOn=["load"], **SHELL)]
    world.run(on_kubeflow(*steps))
    await world.goes_on()
    async with asyncio.timeout(30):
        while world.states()["load"] != "Succeeded":
            await world.goes_on(1)
    assert world.states()["hangs"] == "Pending"

    world.run(on_kubeflow(*steps, cancel=cancel))
    await world.goes_on()

    assert world.succeeded() == ("False", "Cancelled")
    assert world.of_kubeflow.workflow.is_terminating


async def test_a_run_is_held_until_its_end_there_is_certain(world: KubeflowWorld):
    await world.has_a_run_that_hangs()
    await world.fails(status=503)

    world.run(on_kubeflow(step("hangs", **SHELL), cancel="Immediate"))
    await world.goes_on()
    assert world.succeeded() == ("False", "Cancelled")
    assert world.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"]["finalizers"] == [FINALIZER]
    world.restart()
    await world.recovers()
    await world.goes_on()

    assert world.of_kubeflow.workflow.is_terminating
    assert not world.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"].get("finalizers")


async def test_a_run_that_is_deleted_ends_there_before_it_is_gone(world: KubeflowWorld):
    await world.has_a_run_that_hangs()
    assert world.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"]["finalizers"] == [FINALIZER]
    await world.fails(status=503)

    world.delete()
    await world.goes_on()
    assert world.runs() == [RUN.name]

    await world.recovers()
    await world.goes_on(60)

    assert world.runs() == []
    assert world.of_kubeflow.workflow.is_terminating


async def test_a_run_that_is_cancelled_and_deleted_ends_there(world: KubeflowWorld):
    await world.has_a_run_that_hangs()
    await world.fails(status=503)
    world.run(on_kubeflow(step("hangs", **SHELL), cancel="Immediate"))
    await world.goes_on()

    world.delete()
    await world.goes_on()
    assert world.runs() == [RUN.name]
    await world.recovers()
    await world.goes_on()

    assert world.runs() == []
    assert world.of_kubeflow.workflow.is_terminating


async def test_a_run_that_is_deleted_after_its_components_are_gone_is_let_go(world: KubeflowWorld):
    await world.has_a_run_that_hangs()
    world.restart()
    world.kubernetes.remove(STACK_COMPONENTS, RUN.namespace, "kubeflow")

    world.delete()
    await world.goes_on()

    assert world.runs() == []
    assert ("Warning", "KubeflowRunNotEnded") in world.events()


async def test_a_run_that_was_never_submitted_goes_at_once(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), suspend=True))
    await world.goes_on()
    await world.fails(status=503)

    world.delete()
    await world.goes_on()

    assert world.runs() == []


async def test_a_run_whose_log_in_goes_before_it_ends_with_the_one_that_was_there(world: KubeflowWorld):
    await world.logs_in("secret")
    await world.has_a_run_that_hangs()
    world.kubernetes.remove(SECRETS, RUN.namespace, "login")

    world.delete()
    await world.goes_on()

    assert world.runs() == []
    assert world.of_kubeflow.workflow.is_terminating


async def test_a_step_that_began_before_the_end_was_certain_is_told_as_it_was(world: KubeflowWorld):
    steps = [step("load", **SHELL), step("report", dependsOn=["load"], **SHELL)]
    world.run(on_kubeflow(*steps))
    await world.goes_on()
    await world.fails(status=503)
    world.run(on_kubeflow(*steps, cancel="Graceful"))
    await world.goes_on(600)
    assert world.states()["report"] == "Pending"

    await world.recovers()
    await world.goes_on()

    assert world.states() == {"load": "Succeeded", "report": "Succeeded"}


async def test_a_run_that_has_ended_is_not_held(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()
    await world.goes_on(600)
    assert world.succeeded() == ("True", "Completed")

    await world.goes_on()

    assert not world.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"].get("finalizers")


async def test_a_run_that_has_succeeded_is_not_terminated(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()
    async with asyncio.timeout(30):
        while world.succeeded()[0] != "True":
            await world.goes_on(1)

    await world.goes_on(60)

    assert not world.of_kubeflow.workflow.is_terminating
