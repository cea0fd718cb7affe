"""A cluster in memory with a stack, and an operator that reconciles one run in it."""

from __future__ import annotations

import asyncio

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, STACK_COMPONENTS, STACKS, ApiError
from cairn.clients.store import Key
from cairn.clients.tracing import SendTrace
from cairn.runs.reconciler import RunReconciler
from tests.unit.builders import (
    BUCKET_SPEC,
    JOBS_SPEC,
    LAPTOP_SPEC,
    MLFLOW_SPEC,
    RUN,
    TRANSFER,
    component_body,
    run_body,
    stack_body,
)
from tests.unit.clock import ManualClock
from tests.unit.direct_evaluator import DirectEvaluator
from tests.unit.fake_kubernetes import World
from tests.unit.fake_registries import FakeRegistries
from tests.unit.fake_stores import FakeStore, OneStoreForAll
from tests.unit.fake_tracker import FakeTracker, OneTrackerForAll
from tests.unit.pods import PodStory

CREATE_JOBS, WRITE_STATUS = "create jobs", "patch-status pipelineruns"
PRODUCTION = {"stackRef": {"name": "production"}}
RUN_KEY: Key = (RUN.namespace, RUN.name)


TURNS_OF_THE_LOOP = 30
"""More than it takes to keep a log, or to record an attempt."""


class OperatorDiedError(Exception):
    """The operator's process ends in the middle of a reconcile."""


class RunWorld(World):
    """What happens to a run, told step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.apply(STACK_COMPONENTS, component_body("jobs", JOBS_SPEC, ready=True))
        self.apply(STACK_COMPONENTS, component_body("laptop", LAPTOP_SPEC, ready=True))
        self.apply(STACK_COMPONENTS, component_body("bucket", BUCKET_SPEC, ready=True))
        self.apply(STACKS, stack_body("production"))
        self.apply(STACKS, stack_body("one-pod", orchestrator="laptop"))
        self.apply(STACK_COMPONENTS, component_body("mlflow", MLFLOW_SPEC, ready=True))
        self.apply(STACKS, stack_body("tracked", tracker="mlflow"))
        self.clock = ManualClock()
        self.store = FakeStore()
        self.tracker = FakeTracker()
        self.registries = FakeRegistries()
        self.send_trace: SendTrace | None = None
        """For the operator that is started next."""
        self.woken: list[Key] = []
        """Runs that what is done beside reconciles has woken."""
        self.reconciler = self._operator(self.cluster)

    def run(self, spec: RunSpec) -> Key:
        """Apply the run, and have the operator see it."""
        return self.apply(PIPELINE_RUNS, run_body(spec))

    def change_unseen(self, spec: RunSpec) -> None:
        """Apply the run; the operator's watch does not tell of it yet."""
        self.kubernetes.add(PIPELINE_RUNS, run_body(spec))

    async def reconcile(self, key: Key = RUN_KEY) -> float | None:
        """Reconcile once the watches have caught up."""
        self.see()
        return await self._reconcile(key)

    async def reconcile_unseeing(self) -> float | None:
        """Reconcile with what the watches have told so far."""
        return await self._reconcile(RUN_KEY)

    async def _reconcile(self, key: Key) -> float | None:
        """Reconcile as the work queue does: again, when what was begun beside it has woken the run."""
        after = await self.reconciler.reconcile(key)
        for _ in range(TURNS_OF_THE_LOOP):
            await asyncio.sleep(0)
        if self.woken:
            self.woken.clear()
            return await self._reconcile(key)
        return after

    async def under_way(self, spec: RunSpec) -> float | None:
        """Have a run's first Jobs made, and the first step of each run on a node."""
        self.run(spec)
        await self.reconcile()
        for job in self.jobs():
            pod = self.pod(job)
            self.put(pod.runs(pod.containers[0]))
        return await self.reconcile()

    def restart(self) -> None:
        """Start another operator, which knows nothing but the cluster."""
        self.reconciler = self._operator(self.new_view())

    def _operator(self, cluster: Cluster) -> RunReconciler:
        return RunReconciler(
            cluster,
            TRANSFER,
            self.woken.append,
            DirectEvaluator(),
            clock=self.clock,
            stores=OneStoreForAll(cluster, self.store),
            trackers=OneTrackerForAll(cluster, self.tracker),
            registries=self.registries,
            send_trace=self.send_trace,
        )

    async def die_before_jobs(self, spec: RunSpec) -> None:
        """Have a run accepted and its first attempts recorded, and another operator go on with it before it has Jobs."""

        def die(_: JsonObject) -> ApiError | None:
            raise OperatorDiedError

        self.run(spec)
        self.kubernetes.objections[CREATE_JOBS] = die
        with pytest.raises(OperatorDiedError):
            await self.reconcile()
        self.kubernetes.objections.clear()
        self.kubernetes.requests.clear()
        self.restart()

    def jobs(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.kubernetes.all(JOBS)]

    def job_ends(self, name: str, condition: str) -> None:
        """The Job controller has seen the end of a Job's pod: `Complete` or `Failed`."""
        job = self.kubernetes.one(JOBS, name)
        self.kubernetes.add(JOBS, {**job, "status": {"conditions": [{"type": condition, "status": "True"}]}})

    def pod(self, job: str) -> PodStory:
        """Begin the story of a Job's pod."""
        return PodStory(self.kubernetes.one(JOBS, job))

    def put(self, pod: PodStory, *, on_node: bool = True) -> None:
        """Have the pod be there as its story has it; what was patched of its spec stays."""
        there = self.kubernetes.objects.get((PODS.plural, RUN.namespace, pod.body["metadata"]["name"]), {})
        node = {"nodeName": "node-1"} if on_node else {}
        self.kubernetes.add(PODS, {**pod.body, "spec": {**there.get("spec", {}), **pod.body["spec"], **node}})

    def kubelet_stops(self, job: str) -> None:
        """A Job's pod has ended because its kubelet was told to stop it."""
        self.put(self.pod(job).is_over("DeadlineExceeded", "Pod was active on the node longer than the deadline"))

    def stopped_pods(self) -> list[str]:
        """Return the pods that their kubelet was told to stop."""
        pods = self.kubernetes.all(PODS)
        return [pod["metadata"]["name"] for pod in pods if pod["spec"].get("activeDeadlineSeconds") == 1]

    def runs(self) -> list[str]:
        return [run["metadata"]["name"] for run in self.kubernetes.all(PIPELINE_RUNS)]

    def pods(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.kubernetes.all(PODS)]

    @property
    def status(self) -> JsonObject:
        return self.kubernetes.one(PIPELINE_RUNS, RUN.name).get("status") or {}

    def states(self) -> dict[str, str]:
        return {item["name"]: item["state"] for item in self.status.get("steps", ())}

    def step_status(self, name: str) -> JsonObject:
        """Return all that is recorded of a step."""
        (status,) = [item for item in self.status["steps"] if item["name"] == name]
        return status

    def step(self, name: str = "only") -> tuple[str, str | None]:
        """Return a step's state and reason."""
        status = self.step_status(name)
        return status["state"], status.get("reason")

    def succeeded(self) -> tuple[str, str]:
        condition = self.condition(PIPELINE_RUNS, RUN.name, "Succeeded")
        return condition["status"], condition["reason"]
