"""That a run is on Kubeflow Pipelines once, whatever becomes of requests and operators."""

from __future__ import annotations

import pytest

from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.kubernetes import PIPELINE_RUNS, PIPELINES, STACK_COMPONENTS, STACKS, ConflictError
from cairn.clients.rest import NotSentError
from tests.unit.builders import RUN, component_body, pipeline_body, run_body, stack_body, step
from tests.unit.runs.kubeflow.kubeflow_world import SHELL, KubeflowWorld, dies_at, on_kubeflow, one_step
from tests.unit.runs.run_world import WRITE_STATUS, OperatorDiedError


async def test_a_run_of_which_no_answer_came_is_found_and_not_submitted_again(world: KubeflowWorld):
    await world.fails(drop="after", method="POST", path="/runs$", count=1)
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()

    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")
    assert len(world.kfp.store.runs) == 1


async def test_an_operator_that_dies_before_the_submission_is_recorded_leaves_one_run(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    world.kubernetes.objections[WRITE_STATUS] = dies_at(2)
    with pytest.raises(OperatorDiedError):
        await world.goes_on()
    assert "orchestratorRun" not in world.status
    world.kubernetes.objections.clear()

    world.restart()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")
    assert len(world.kfp.store.runs) == 1


async def test_a_server_that_is_away_is_told_and_the_run_is_submitted_when_it_is_back(world: KubeflowWorld):
    await world.fails(status=503)
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()
    assert world.told()[0] == "Pending"
    assert "ServerError" in world.told()[1]

    await world.recovers()
    world.clock.advance(20)
    await world.goes_on()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")


async def test_what_the_server_refuses_for_good_fails_the_run(world: KubeflowWorld):
    await world.fails(status=400, body='{"code": 3, "message": "a parameter is missing"}', method="POST", path="/runs$")
    world.run(on_kubeflow(step("only", **SHELL), step("after", dependsOn=["only"], **SHELL)))

    await world.goes_on()

    assert world.succeeded() == ("False", "StepFailed")
    assert "RequestRefused" in world.told()[1]
    assert world.states() == {"only": "Failed", "after": "Skipped"}


async def test_of_two_runs_of_one_name_the_oldest_counts(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    name = f"{RUN.name}-{world.kubernetes.one(PIPELINE_RUNS, RUN.name)['metadata']['uid']}"
    _, experiment = await world.kfp.ask("POST", "/apis/v2beta1/experiments", {"display_name": "wine"})
    spec = {"display_name": name, "experiment_id": experiment["experiment_id"], "pipeline_spec": one_step()}
    for _ in range(2):
        await world.kfp.ask("POST", "/apis/v2beta1/runs", spec)
        world.kfp.clock.advance(2)

    await world.goes_on()
    await world.goes_on(600)

    first, second = sorted(world.kfp.store.runs.values(), key=lambda run: run.created_at)
    assert world.status["orchestratorRun"]["id"] == first.run_id
    assert (first.state, second.state) == ("SUCCEEDED", "FAILED")


async def test_what_got_no_answer_may_be_done_late_and_is_not_asked_for_again_meanwhile(world: KubeflowWorld):
    await world.fails(drop="before", method="POST", path="/runs$", count=1)
    world.run(on_kubeflow(step("only", **SHELL)))
    for _ in range(3):
        await world.goes_on()
    assert world.kfp.store.runs == {}

    name = f"{RUN.name}-{world.kubernetes.one(PIPELINE_RUNS, RUN.name)['metadata']['uid']}"
    (experiment,) = world.kfp.store.experiments
    late = {"display_name": name, "experiment_id": experiment, "pipeline_spec": one_step()}
    await world.kfp.ask("POST", "/apis/v2beta1/runs", late)
    await world.goes_on()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")
    assert len(world.kfp.store.runs) == 1


async def test_a_server_that_cannot_be_connected_to_is_asked_again_at_once(
    world: KubeflowWorld, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    async def refuse(*_: object) -> str:
        asked.append("create")
        raise NotSentError("cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(KubeflowPipelines, "create_run", refuse)
        world.run(on_kubeflow(step("only", **SHELL)))
        await world.goes_on()
    assert len(asked) > 1

    await world.goes_on()
    await world.goes_on(600)
    assert world.succeeded() == ("True", "Completed")


async def test_a_stack_that_changes_before_the_run_is_recorded_counts_as_it_is_now(world: KubeflowWorld):
    right = world.kubernetes.one(STACKS, "on-kubeflow")
    wrong = {"orchestrator": {"kubeflow": {"endpoint": "http://127.0.0.1:9"}}}
    world.apply(STACK_COMPONENTS, component_body("wrong", wrong, ready=True))
    world.apply(STACKS, stack_body("on-kubeflow", orchestrator="wrong"))
    world.kubernetes.objections[WRITE_STATUS] = lambda _: ConflictError(409, "Conflict", "it has changed")
    world.run(on_kubeflow(step("only", **SHELL)))
    with pytest.raises(ConflictError):
        await world.reconcile()
    world.kubernetes.objections.clear()

    world.apply(STACKS, right)
    await world.goes_on()
    await world.goes_on(600)

    assert world.succeeded() == ("True", "Completed")


async def test_components_that_are_gone_are_told_and_nothing_is_submitted_again(world: KubeflowWorld):
    world.run(on_kubeflow(step("hangs", **SHELL)))
    await world.goes_on()
    endpoint = str(world.kfp.client.make_url("")).rstrip("/")
    spec = {"orchestrator": {"kubeflow": {"endpoint": endpoint}}}
    world.apply(STACK_COMPONENTS, component_body("another", spec, ready=True))
    world.apply(STACKS, stack_body("on-kubeflow", orchestrator="another"))
    world.kubernetes.remove(STACK_COMPONENTS, RUN.namespace, "kubeflow")
    world.restart()

    await world.goes_on()

    assert "components that the run began with are gone" in world.told()[1]
    assert len(world.kfp.store.runs) == 1


async def test_a_run_by_name_is_in_the_experiment_of_its_pipeline_from_the_start(world: KubeflowWorld):
    template = {"spec": {"experiment": "baseline", "steps": [step("only", **SHELL).to_json()]}}
    world.apply(PIPELINES, pipeline_body(spec={"template": template}))
    spec = {"pipelineRef": {"name": "wine"}, "stackRef": {"name": "on-kubeflow"}}
    world.apply(PIPELINE_RUNS, {**run_body(), "spec": spec})

    await world.goes_on()

    (experiment,) = world.kfp.store.experiments.values()
    assert experiment.display_name == "baseline"
