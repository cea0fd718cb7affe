"""Runs on Kubeflow Pipelines, by the backend of tests/kfp in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from math import inf
from typing import Any

import pytest

from cairn.api.base import FINALIZER, JsonObject
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.kubernetes import PIPELINE_RUNS, STACK_COMPONENTS, STACKS, ApiError
from cairn.clients.rest import NotSentError
from cairn.components.base import StoreUnavailableError
from cairn.runs.kubeflow import followed_run
from tests.kfp.backend.scripted import Deed
from tests.kfp.backend.state import Attempt, Run
from tests.kfp.harness import Backend, backend
from tests.kfp.pipelines import Pipeline
from tests.unit.builders import LATER, RUN, component_body, inputs, outputs, run_spec, stack_body, step
from tests.unit.runs.run_world import WRITE_STATUS, OperatorDiedError, RunWorld

SHELL = {"command": ["train"]}


class KubeflowWorld(RunWorld):
    """A run on a stack whose orchestrator is Kubeflow Pipelines."""

    def __init__(self, kfp: Backend) -> None:
        super().__init__()
        self.kfp = kfp
        endpoint = str(kfp.client.make_url("")).rstrip("/")
        spec = {"orchestrator": {"kubeflow": {"endpoint": endpoint}}}
        self.apply(STACK_COMPONENTS, component_body("kubeflow", spec, ready=True))
        self.apply(STACKS, stack_body("on-kubeflow", orchestrator="kubeflow"))

    async def goes_on(self, seconds: float = 0) -> None:
        """Let time pass for Kubeflow Pipelines, and the operator see what has changed."""
        self.kfp.clock.advance(seconds)
        for _ in range(20):
            await asyncio.sleep(0.01)
            await self.reconcile()

    async def goes_on_when_woken(self, seconds: float = 0) -> None:
        """The same, but that the operator looks at the run only when it is woken, or the run has changed."""
        self.kfp.clock.advance(seconds)
        seen = ""
        for _ in range(40):
            await asyncio.sleep(0.01)
            version = self.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"]["resourceVersion"]
            if self.woken or version != seen:
                seen = version
                self.woken.clear()
                await self.reconcile()

    @property
    def of_kubeflow(self) -> Run:
        """The one run there."""
        (run,) = self.kfp.store.runs.values()
        return run

    async def fails(self, **fault: Any) -> None:
        """Have Kubeflow Pipelines fail as tests/kfp/backend/faults.py tells."""
        await self.kfp.ask("POST", "/faults", fault)

    async def recovers(self) -> None:
        """End all faults."""
        await self.kfp.ask("DELETE", "/faults")

    def told(self) -> tuple[str, str]:
        """Return reason and message of the run's condition."""
        condition = self.condition(PIPELINE_RUNS, RUN.name, "Succeeded")
        return condition["reason"], condition["message"]

    def delete(self) -> None:
        """Ask for the deletion of the run; its finalizer keeps it."""
        body = self.kubernetes.one(PIPELINE_RUNS, RUN.name)
        body["metadata"]["deletionTimestamp"] = LATER
        self.kubernetes.add(PIPELINE_RUNS, body)


def does(attempt: Attempt) -> Deed:
    """Write everything that is declared; fail in the step `boom`, and never end in the step `hangs`."""
    name = attempt.task.rpartition(".")[2]
    parameters = dict.fromkeys(attempt.output_parameters, '{"rmse": 0.5}')
    takes = inf if name == "hangs" else 2
    artifacts = list(attempt.outputs.artifacts)
    return Deed(exit_code=1 if name == "boom" else 0, parameters=parameters, artifacts=artifacts, takes=takes)


def dies_at(number: int) -> Callable[[JsonObject], ApiError | None]:
    """Let the operator end at a request of some kind, the first one being 1."""
    requests = count(1)

    def die(_: JsonObject) -> None:
        if next(requests) == number:
            raise OperatorDiedError

    return die


def one_step() -> JsonObject:
    """Return a pipeline of somebody."""
    pipeline = Pipeline("wine")
    return pipeline.task("only", pipeline.container("only")).spec


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeflowWorld]:
    monkeypatch.setattr(followed_run, "SHORTEST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(followed_run, "LONGEST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(followed_run, "LONGEST_PAUSE_OF_TROUBLE_SECONDS", 0.005)
    monkeypatch.setattr(followed_run, "TOLD_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(followed_run, "SETTLES_SECONDS", 0.05)
    async with backend(does) as kfp:
        world = KubeflowWorld(kfp)
        yield world
        world.reconciler.stop()
        await world.reconciler.close()


def on_kubeflow(*steps: Any, **fields: Any) -> PipelineRunSpec:
    return run_spec(*steps, stackRef={"name": "on-kubeflow"}, **fields)


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
    (run,) = world.kfp.store.runs.values()
    assert run.state == "FAILED"


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


async def test_a_server_that_is_away_while_a_run_is_under_way_is_told(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()

    await world.fails(status=401, body='{"code": 16, "message": "expired"}')
    await world.goes_on()
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


async def test_what_the_server_refuses_for_good_fails_the_run(world: KubeflowWorld):
    await world.fails(status=400, body='{"code": 3, "message": "a parameter is missing"}', method="POST", path="/runs$")
    world.run(on_kubeflow(step("only", **SHELL), step("after", dependsOn=["only"], **SHELL)))

    await world.goes_on()

    assert world.succeeded() == ("False", "StepFailed")
    assert "RequestRefused" in world.told()[1]
    assert world.states() == {"only": "Failed", "after": "Skipped"}


async def test_a_run_that_somebody_has_deleted_there_fails(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL), step("after", dependsOn=["only"], **SHELL)))
    await world.goes_on()

    await world.kfp.ask("DELETE", f"/apis/v2beta1/runs/{world.status['orchestratorRun']['id']}")
    await world.goes_on()

    assert world.succeeded() == ("False", "StepFailed")
    assert "KubeflowRunDeleted" in world.told()[1]


async def test_a_run_that_somebody_has_terminated_there_fails(world: KubeflowWorld):
    world.run(on_kubeflow(step("hangs", **SHELL), step("after", dependsOn=["hangs"], **SHELL)))
    await world.goes_on()
    await world.goes_on(60)

    await world.kfp.ask("POST", f"/apis/v2beta1/runs/{world.status['orchestratorRun']['id']}:terminate")
    await world.goes_on(60)
    await world.goes_on(60)

    assert world.succeeded()[0] == "False"
    assert world.states()["after"] in {"Failed", "Skipped"}


async def test_a_run_that_is_deleted_ends_there_before_it_is_gone(world: KubeflowWorld):
    world.run(on_kubeflow(step("hangs", **SHELL)))
    await world.goes_on()
    await world.goes_on(60)
    assert world.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"]["finalizers"] == [FINALIZER]
    await world.fails(status=503)

    world.delete()
    await world.goes_on()
    assert world.runs() == [RUN.name]

    await world.recovers()
    await world.goes_on(60)

    assert world.runs() == []
    (run,) = world.kfp.store.runs.values()
    assert run.workflow.is_terminating


async def test_a_run_that_has_ended_is_not_held(world: KubeflowWorld):
    world.run(on_kubeflow(step("only", **SHELL)))
    await world.goes_on()
    await world.goes_on(600)
    assert world.succeeded() == ("True", "Completed")

    await world.goes_on()

    assert not world.kubernetes.one(PIPELINE_RUNS, RUN.name)["metadata"].get("finalizers")


async def test_a_run_that_is_deleted_after_its_components_are_gone_is_let_go(world: KubeflowWorld):
    world.run(on_kubeflow(step("hangs", **SHELL)))
    await world.goes_on()
    await world.goes_on(60)
    world.restart()
    world.kubernetes.remove(STACK_COMPONENTS, RUN.namespace, "kubeflow")

    world.delete()
    await world.goes_on()

    assert world.runs() == []
    assert ("Warning", "KubeflowRunNotEnded") in world.events()


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


class TestEnding:
    @pytest.mark.parametrize("cancel", ["Graceful", "Immediate"])
    async def test_a_run_that_is_cancelled_between_two_steps_ends_there(self, world: KubeflowWorld, cancel: str):
        steps = [step("load", **SHELL), step("hangs", dependsOn=["load"], **SHELL)]
        world.run(on_kubeflow(*steps))
        await world.goes_on()
        while world.states()["load"] != "Succeeded":
            await world.goes_on(1)
        assert world.states()["hangs"] == "Pending"

        world.run(on_kubeflow(*steps, cancel=cancel))
        await world.goes_on()

        assert world.succeeded() == ("False", "Cancelled")
        assert world.of_kubeflow.workflow.is_terminating

    async def test_a_run_is_held_until_its_end_there_is_certain(self, world: KubeflowWorld):
        world.run(on_kubeflow(step("hangs", **SHELL)))
        await world.goes_on()
        await world.goes_on(60)
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

    async def test_a_run_that_is_cancelled_and_deleted_ends_there(self, world: KubeflowWorld):
        world.run(on_kubeflow(step("hangs", **SHELL)))
        await world.goes_on()
        await world.goes_on(60)
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

    async def test_a_run_that_has_succeeded_is_not_terminated(self, world: KubeflowWorld):
        world.run(on_kubeflow(step("only", **SHELL)))
        await world.goes_on()
        while not world.succeeded():
            await world.goes_on(1)

        await world.goes_on(60)

        assert not world.of_kubeflow.workflow.is_terminating


class TestTelling:
    async def test_what_is_final_wakes_the_run(self, world: KubeflowWorld):
        world.run(on_kubeflow(step("only", **SHELL), step("other", **SHELL)))
        await world.goes_on()
        run = world.of_kubeflow
        world.kfp.engine.delete(run.run_id)
        run.state, run.tasks = "FAILED", {}
        world.kfp.store.runs[run.run_id] = run

        await world.goes_on_when_woken()

        assert world.states() == {"only": "Failed", "other": "Failed"}

    async def test_a_step_that_is_to_be_tried_again_fails_with_the_run_that_is_deleted(self, world: KubeflowWorld):
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

    async def test_an_outage_is_no_reason_to_give_a_step_up(self, world: KubeflowWorld):
        world.run(on_kubeflow(step("only", pendingTimeoutSeconds=60, **SHELL)))
        await world.goes_on()
        await world.fails(status=503)

        world.clock.advance(700)
        await world.goes_on()
        await world.recovers()
        await world.goes_on(600)

        assert world.succeeded() == ("True", "Completed")


class TestSubmission:
    async def test_what_got_no_answer_may_be_done_late_and_is_not_asked_for_again_meanwhile(self, world: KubeflowWorld):
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
        self, world: KubeflowWorld, monkeypatch: pytest.MonkeyPatch
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

    async def test_components_that_are_gone_are_told_and_nothing_is_submitted_again(self, world: KubeflowWorld):
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

    async def test_another_endpoint_is_no_reason_to_take_the_run_for_deleted(self, world: KubeflowWorld):
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
