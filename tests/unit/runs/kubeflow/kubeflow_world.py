"""A cluster whose runs are carried out by the backend of tests/kfp, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.clients.kubernetes import PIPELINE_RUNS, SECRETS, STACK_COMPONENTS, STACKS, ApiError
from tests.kfp.backend.scripted import Deed
from tests.kfp.backend.state import Attempt, Run
from tests.kfp.harness import Backend
from tests.kfp.pipelines import Pipeline
from tests.unit.builders import LATER, RUN, component_body, run_spec, secret_body, stack_body, step
from tests.unit.runs.run_world import OperatorDiedError, RunWorld

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

    async def has_a_run_that_hangs(self) -> None:
        """Have a run under way whose only step does not end."""
        self.run(on_kubeflow(step("hangs", **SHELL)))
        await self.goes_on()
        await self.goes_on(60)

    @property
    def of_kubeflow(self) -> Run:
        """The one run there."""
        (run,) = self.kfp.store.runs.values()
        return run

    async def fails(self, **fault: Any) -> None:
        """Have Kubeflow Pipelines fail as tests/kfp/backend/faults.py tells."""
        await self.kfp.ask("POST", "/faults", fault)

    async def refuses_the_log_in(self) -> None:
        """Have it want another log-in, and the operator see that."""
        await self.fails(status=401, body='{"code": 16, "message": "expired"}')
        await self.goes_on()

    async def logs_in(self, token: str) -> None:
        """Have Kubeflow Pipelines want a token, and the component name the Secret that holds it."""
        await self.kfp.ask("PUT", "/token", {"token": token})
        component = self.kubernetes.one(STACK_COMPONENTS, "kubeflow")
        component["spec"]["orchestrator"]["kubeflow"]["auth"] = {"tokenSecretRef": {"name": "login", "key": "token"}}
        self.kubernetes.add(SECRETS, secret_body("login", token=token))
        self.kubernetes.add(STACK_COMPONENTS, component)

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


def on_kubeflow(*steps: Any, **fields: Any) -> RunSpec:
    """Return a run on that stack."""
    return run_spec(*steps, stackRef={"name": "on-kubeflow"}, **fields)
