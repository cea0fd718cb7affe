"""What becomes of a run under way when its server is away, or somebody has been at it there."""

from __future__ import annotations

import asyncio

import pytest

from cairn.clients.kubernetes import PIPELINE_RUNS, STACK_COMPONENTS
from cairn.runs.kubeflow import followed_run
from tests.unit.builders import RUN, component_body, outputs, step
from tests.unit.runs.kubeflow.kubeflow_world import SHELL, KubeflowWorld, on_kubeflow


async def test_a_log_in_that_is_refused_while_a_run_is_under_way_is_told(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()

    await world.refuses_the_log_in()
    assert "Unauthorized" in world.told()[1]
    assert world.states() == {"only": "Queued"}

    await world.recovers()
    await world.goes_on(600)
    assert world.succeeded() == ("True", "Completed")


async def test_a_server_that_is_away_for_a_moment_is_nobody_s_concern(
    world: KubeflowWorld, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(followed_run, "TOLD_AFTER_SECONDS", 2.0)
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()

    await world.fails(status=503)
    await world.goes_on()
    assert "ServerError" not in world.told()[1]

    async with asyncio.timeout(30):
        while "ServerError" not in world.told()[1]:
            await world.goes_on()


async def test_a_log_in_that_is_mended_is_used_for_the_runs_that_are_under_way(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()
    await world.refuses_the_log_in()
    assert "Unauthorized" in world.told()[1]

    await world.recovers()
    await world.logs_in("secret")
    world.see()
    await world.goes_on_when_woken(600)

    assert world.succeeded() == ("True", "Completed")


async def test_a_store_that_is_gone_is_not_taken_for_empty(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", outputs=outputs("data"), **SHELL)))
    await world.goes_on()
    world.kubernetes.remove(STACK_COMPONENTS, RUN.namespace, "bucket")
    world.restart()

    await world.goes_on(600)

    assert world.states() == {"only": "Running"}
    assert "artifact store that the run began with is gone" in world.told()[1]


async def test_an_outage_is_no_reason_to_give_a_step_up(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", pendingTimeoutSeconds=60, **SHELL)))
    await world.goes_on()
    await world.fails(status=503)

    world.clock.advance(700)
    await world.goes_on()
    await world.recovers()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")


async def test_a_run_that_somebody_has_deleted_there_fails(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), step("after", dependsOn=["only"], **SHELL)))
    await world.goes_on()

    await world.kfp.ask("DELETE", f"/apis/v2beta1/runs/{world.status['orchestratorRun']['id']}")
    await world.goes_on()

    assert world.succeeded() == ("False", "StepFailed")
    assert "KubeflowRunDeleted" in world.told()[1]
    assert world.states() == {"only": "Failed", "after": "Skipped"}


async def test_a_step_that_is_to_be_tried_again_fails_with_the_run_that_is_deleted(world: KubeflowWorld):
    world.run(on_kubeflow(step("boom", retry={"limit": 1, "backoffSeconds": 300}, **SHELL)))
    await world.goes_on()
    status = world.status
    status["steps"][0] |= {"state": "Retrying", "reason": "ExitCode", "message": "It ended with exit code 1."}
    body = world.kubernetes.one(PIPELINE_RUNS, RUN.name)
    world.kubernetes.add(PIPELINE_RUNS, {**body, "status": status})

    world.kfp.engine.delete(world.of_kubeflow.run_id)
    await world.goes_on()

    assert world.succeeded() == ("False", "StepFailed")
    assert world.step_status("boom")["reason"] == "ExitCode"


async def test_a_run_that_somebody_has_terminated_there_fails(world: KubeflowWorld):
    world.run(on_kubeflow(step("hangs", **SHELL), step("after", dependsOn=["hangs"], **SHELL)))
    await world.goes_on()
    await world.goes_on(60)

    await world.kfp.ask("POST", f"/apis/v2beta1/runs/{world.status['orchestratorRun']['id']}:terminate")
    await world.goes_on(60)
    await world.goes_on(60)

    assert world.succeeded() == ("False", "StepFailed")
    assert world.states() == {"hangs": "Failed", "after": "Skipped"}
    assert world.step_status("hangs")["reason"] == "Terminated"


async def test_a_run_that_is_deleted_there_ends_though_it_is_suspended_here(world: KubeflowWorld):
    steps = [step("only", **SHELL), step("other", **SHELL)]
    world.run(on_kubeflow(*steps))
    await world.goes_on()
    world.run(on_kubeflow(*steps, suspend=True))

    await world.kfp.ask("DELETE", f"/apis/v2beta1/runs/{world.status['orchestratorRun']['id']}")
    await world.goes_on()

    assert world.states() == {"only": "Failed", "other": "Failed"}


async def test_another_endpoint_is_no_reason_to_take_the_run_for_deleted(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()
    right = world.kubernetes.one(STACK_COMPONENTS, "kubeflow")
    wrong = {"orchestrator": {"kubeflow": {"endpoint": "http://127.0.0.1:9"}}}
    world.apply(STACK_COMPONENTS, component_body("kubeflow", wrong, ready=True))

    world.restart()
    await world.goes_on()
    assert "EndpointChanged" in world.told()[1]

    world.apply(STACK_COMPONENTS, right)
    await world.goes_on()
    await world.goes_on(600)
    assert world.succeeded() == ("True", "Completed")
