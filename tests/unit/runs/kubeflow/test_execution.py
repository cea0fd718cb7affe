"""Runs that Kubeflow Pipelines carries out, from their submission to their end."""

from __future__ import annotations

from cairn.clients.kubernetes import PIPELINE_RUNS
from cairn.components.base import StoreUnavailableError
from tests.unit.builders import RUN, inputs, outputs, step
from tests.unit.runs.kubeflow.kubeflow_world import SHELL, KubeflowWorld, on_kubeflow


async def test_a_run_is_submitted_followed_and_ends(world: KubeflowWorld):
    spec = on_kubeflow(
        step("load", outputs=outputs("data", results=["rmse"]), **SHELL),
        step("report", inputs=inputs(data="load.data"), **SHELL),
    )
    world.run(spec)
    await world.goes_on()
    assert world.states() == {"load": "Queued", "report": "Pending"}
    run_id = world.status["orchestratorRun"]["id"]
    below = f"ml/.kubeflow/wine/{run_id}/load/uuid"
    world.store.objects |= {f"{below}/data": b"1,2", f"{below}/results.json": b'{"rmse": 0.5}'}

    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")
    load = next(one for one in world.status["steps"] if one["name"] == "load")
    assert load["results"] == [{"name": "rmse", "value": "0.5"}]
    assert load["artifacts"][0]["uri"] == f"s3://ml-artifacts/{below}/data"


async def test_a_step_that_fails_fails_the_run_and_others_go_on(world: KubeflowWorld):
    spec = on_kubeflow(step("boom", **SHELL), step("after", dependsOn=["boom"], **SHELL), step("other", **SHELL))
    world.run(spec)
    await world.goes_on()

    await world.goes_on(600)

    assert world.succeeded() == ("False", "StepFailed")
    assert world.states() == {"boom": "Failed", "after": "Skipped", "other": "Succeeded"}


async def test_what_it_cannot_express_is_refused_before(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), failurePolicy="StopOnFailure"))

    await world.goes_on()

    assert world.succeeded() == ("False", "InvalidSpec")
    assert "spec.failurePolicy: StopOnFailure" in world.condition(PIPELINE_RUNS, RUN.name, "Succeeded")["message"]
    assert world.kfp.store.runs == {}


async def test_another_operator_goes_on_with_the_same_run(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()

    world.restart()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")
    assert len(world.kfp.store.runs) == 1


async def test_a_suspended_run_is_submitted_when_it_goes_on(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), suspend=True))
    await world.goes_on()
    assert (world.told()[0], world.kfp.store.runs) == ("Suspended", {})

    world.run(on_kubeflow(step("only", **SHELL), suspend=False))
    await world.goes_on()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")


async def test_a_run_that_is_submitted_cannot_be_suspended(world: KubeflowWorld):
    steps = [step("only", **SHELL), step("after", dependsOn=["only"], **SHELL)]
    world.run(on_kubeflow(*steps))
    await world.goes_on()

    world.run(on_kubeflow(*steps, suspend=True))
    await world.goes_on()
    assert world.told()[0] == "Running"
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")


async def test_steps_that_kubeflow_pipelines_does_not_run_have_failed(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), step("other", **SHELL), step("after", dependsOn=["only"], **SHELL)))
    await world.goes_on()
    (run,) = world.kfp.store.runs.values()
    world.kfp.engine.delete(run.run_id)
    run.state, run.tasks = "FAILED", {}
    world.kfp.store.runs[run.run_id] = run

    for _ in range(3):
        await world.goes_on()

    assert world.states() == {"only": "Failed", "other": "Failed", "after": "Skipped"}
    assert "NotRun" in world.told()[1]


async def test_what_is_final_wakes_the_run(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), step("other", **SHELL)))
    await world.goes_on()
    run = world.of_kubeflow
    world.kfp.engine.delete(run.run_id)
    run.state, run.tasks = "FAILED", {}
    world.kfp.store.runs[run.run_id] = run

    await world.goes_on_when_woken()

    assert world.states() == {"only": "Failed", "other": "Failed"}


async def test_outputs_that_cannot_be_read_are_told_and_read_later(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", outputs=outputs("data"), **SHELL)))
    await world.goes_on()
    run_id = world.status["orchestratorRun"]["id"]
    world.store.objects[f"ml/.kubeflow/wine/{run_id}/only/uuid/data"] = b"1,2"
    world.store.refusal = StoreUnavailableError("AccessDenied", "The bucket refuses.")

    await world.goes_on(600)
    assert world.states() == {"only": "Running"}
    assert "AccessDenied" in world.told()[1]

    world.store.refusal = None
    await world.goes_on()
    assert world.succeeded() == ("True", "Completed")


async def test_outputs_that_are_recorded_are_not_read_again(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", outputs=outputs("data"), **SHELL), step("hangs", **SHELL)))
    await world.goes_on()
    run_id = world.status["orchestratorRun"]["id"]
    world.store.objects[f"ml/.kubeflow/wine/{run_id}/only/uuid/data"] = b"1,2"
    await world.goes_on(60)
    assert world.states() == {"only": "Succeeded", "hangs": "Running"}
    world.store.objects.clear()

    world.restart()
    await world.goes_on(60)

    assert world.states() == {"only": "Succeeded", "hangs": "Running"}
    assert len(world.step_status("only")["artifacts"]) == 1
