"""The operator as a whole: what is watched, what that wakes, and the tasks that do the work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cairn.api.base import JsonObject
from cairn.api.conditions import condition_of
from cairn.api.labels import COMPONENT_LABEL, shortened
from cairn.api.ownership import controller_of
from cairn.api.pipeline import REVISION_LABEL
from cairn.api.pipelinerun import pipeline_of
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster, stack_of
from cairn.clients.depth import bounded
from cairn.clients.helm import Helm
from cairn.clients.informer import Informer
from cairn.clients.kubernetes import (
    DEPLOYMENTS,
    JOBS,
    PIPELINE_RUNS,
    PIPELINE_SCHEDULES,
    PIPELINES,
    PODS,
    SECRETS,
    SERVICES,
    STACK_COMPONENTS,
    STACKS,
    Resource,
)
from cairn.clients.registry import Registries
from cairn.clients.store import Key, ObjectStore, key_of
from cairn.components.reconciler import ComponentReconciler
from cairn.components.releases.keeper import ReleaseKeeper
from cairn.components.usage import components_of
from cairn.handlers.work_queue import Reconcile, WorkQueue
from cairn.pipelines.reconciler import PipelineReconciler
from cairn.runs import naming
from cairn.runs.cel_evaluator import ProcessEvaluator
from cairn.runs.follow_up import is_followed_up
from cairn.runs.needed import needed_of_job, needed_of_pod
from cairn.runs.outcome import PIPELINE_NOT_READY, STACK_NOT_READY
from cairn.runs.pod import TransferImage
from cairn.runs.reconciler import RunReconciler
from cairn.runs.retention import KEPT_OF_SPEC
from cairn.runs.status import SUCCEEDED_CONDITION
from cairn.schedules.reconciler import PipelineScheduleReconciler
from cairn.settings import Settings
from cairn.stacks.reconciler import StackReconciler
from cairn.stacks.usability import Usability

if TYPE_CHECKING:
    from cairn.clients.otlp import TraceSender

logger = logging.getLogger(__name__)

SECRET_TYPES_LEFT_OUT = (
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "bootstrap.kubernetes.io/token",
)
ACTIVE_RUNS_DELAY_SECONDS = 2.0
"""A Stack's count of active runs follows after this long, so that a burst of runs costs few writes."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Activity = tuple[str | None, bool]
IDLE: Activity = (None, False)


@dataclass
class Operator:
    """Queues and watches. kopf's handlers call `*_changed`; everything else follows from there."""

    cluster: Cluster
    settings: Settings

    def __post_init__(self) -> None:
        """Make the queues and the watches of what Cairn's own objects depend on."""
        settings = self.settings
        transfer = TransferImage(settings.step_image, settings.step_image_pull_policy, settings.step_resources)
        self._releases = ReleaseKeeper(
            self.cluster,
            Helm(),
            settings.charts,
            images={"mlflow": settings.mlflow_image},
            wake=self._wake_component,
            clock=Clock(),
        )
        self._component_reconciler = ComponentReconciler(
            self.cluster,
            self._releases,
            interval=settings.check_interval_seconds,
            retry_interval=settings.retry_interval_seconds,
        )
        self.components = self._queue(STACK_COMPONENTS, self._component_reconciler.reconcile, self.cluster.components)
        usability = Usability(self.cluster.kubernetes, Clock())
        self.stacks = self._queue(STACKS, StackReconciler(self.cluster, usability).reconcile, self.cluster.stacks)
        self.pipelines = self._queue(
            PIPELINES, PipelineReconciler(self.cluster, Clock()).reconcile, self.cluster.pipelines
        )
        self.schedules = self._queue(
            PIPELINE_SCHEDULES, PipelineScheduleReconciler(self.cluster, Clock()).reconcile, self.cluster.schedules
        )
        self._evaluator = ProcessEvaluator()
        self._traces = _trace_sender(settings.tracing_endpoint)
        self._run_reconciler = RunReconciler(
            self.cluster,
            transfer,
            self._wake_run,
            self._evaluator,
            registries=Registries(settings.insecure_registry_list),
            usability=usability,
            send_trace=self._traces.send if self._traces is not None else None,
        )
        self.runs = self._queue(PIPELINE_RUNS, self._run_reconciler.reconcile, self.cluster.runs)
        self.informers = [
            informer for namespace in settings.namespace_list or (None,) for informer in self._informers(namespace)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._standings: dict[Key, tuple[object, object]] = {}
        """How each run stood when what has started it was woken last."""
        self._activities: dict[Key, Activity] = {}
        """What each run's Stack was last told of it. The store has what Cairn writes before its event comes."""

    def _queue(self, resource: Resource, reconcile: Reconcile, store: ObjectStore) -> WorkQueue:
        async def tell(key: Key) -> None:
            body = store.get(key)
            if body is not None:
                note = (
                    "The operator fails on this object in a way that it does not foresee; its log says how. Report it."
                )
                await self.cluster.events.record(body, "Warning", "ReconcileError", "Reconcile", note)

        return WorkQueue(resource.kind, reconcile, self.settings.workers, tell)

    async def start(self) -> None:
        """See everything once, then start to work. Where that fails, nothing is left of it, and it can be tried again."""
        try:
            await self._see_everything()
        except BaseException:
            await self._cancel()
            raise
        queues = (self.components, self.stacks, self.pipelines, self.schedules, self.runs)
        self._tasks += [asyncio.create_task(queue.run()) for queue in queues]
        logger.info(
            "Cairn knows %d components, %d stacks, %d pipelines, %d schedules and %d runs and starts to work",
            len(self.cluster.components),
            len(self.cluster.stacks),
            len(self.cluster.pipelines),
            len(self.cluster.schedules),
            len(self.cluster.runs),
        )

    async def _see_everything(self) -> None:
        await self._load(STACK_COMPONENTS, self.cluster.components)
        await self._load(STACKS, self.cluster.stacks)
        await self._load(PIPELINES, self.cluster.pipelines)
        await self._load(PIPELINE_SCHEDULES, self.cluster.schedules)
        await self._load(PIPELINE_RUNS, self.cluster.runs)
        self._tasks = [asyncio.create_task(informer.run()) for informer in self.informers]
        synced = asyncio.gather(*(informer.synced.wait() for informer in self.informers))
        await asyncio.wait([synced, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Stop the work. Nothing is lost: all state is in the cluster."""
        await self._cancel()
        await self._releases.stop()
        self._run_reconciler.stop()
        await self._run_reconciler.close()
        await self._evaluator.stop()
        if self._traces is not None:
            await self._traces.close()
        await self.cluster.kubernetes.close()

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def ready(self) -> bool:
        """Whether everything has been seen and the work goes on."""
        return bool(self._tasks) and self.alive and all(informer.synced.is_set() for informer in self.informers)

    @property
    def alive(self) -> bool:
        """Whether no watch and no queue has died."""
        return not any(task.done() for task in self._tasks)

    def component_changed(self, type_: str | None, body: JsonObject) -> None:
        """Reconcile a component, and the Stacks that name it."""
        _remember(self.cluster.components, type_, body)
        self.components.wake(key_of(body))
        namespace, name = key_of(body)
        for stack in self.cluster.stacks.in_namespace(namespace):
            if name in components_of(stack):
                self.stacks.wake(key_of(stack))
        self._wake_dependents((namespace, name))

    def stack_changed(self, type_: str | None, body: JsonObject) -> None:
        """Reconcile a Stack, the components that it names or named, its rivals, and the runs that wait for it."""
        old = self.cluster.stacks.get(key_of(body))
        _remember(self.cluster.stacks, type_, body)
        namespace, name = key_of(body)
        self.stacks.wake((namespace, name))
        spec_changed = old is None or type_ == "DELETED" or old.get("spec") != body.get("spec")
        if spec_changed:
            for component in self._touched(namespace, name, old, body):
                self.components.wake((namespace, component))
            for run in self.cluster.runs.indexed(namespace, name):
                self.runs.wake(key_of(run))
        if spec_changed or (old or {}).get("metadata", {}).get("annotations") != body["metadata"].get("annotations"):
            for other in self.cluster.stacks.in_namespace(namespace):
                self.stacks.wake(key_of(other))
        self._wake_waiting_runs(namespace, STACK_NOT_READY)

    def pipeline_changed(self, type_: str | None, body: JsonObject) -> None:
        """Reconcile a Pipeline, the schedules that name it, and the runs that wait for it."""
        _remember(self.cluster.pipelines, type_, body)
        namespace, name = key_of(body)
        self.pipelines.wake((namespace, name))
        for schedule in self.cluster.schedules.in_namespace(namespace):
            if schedule["spec"]["pipelineRef"]["name"] == name:
                self.schedules.wake(key_of(schedule))
        self._wake_waiting_runs(namespace, PIPELINE_NOT_READY)

    def schedule_changed(self, type_: str | None, body: JsonObject) -> None:
        """Reconcile a PipelineSchedule."""
        _remember(self.cluster.schedules, type_, body)
        self.schedules.wake(key_of(body))

    def run_changed(self, type_: str | None, body: JsonObject) -> None:
        """Reconcile a run, what has started it, and later the Stack that counts it."""
        _remember(self.cluster.runs, type_, body)
        key = key_of(body)
        self.runs.wake(key)
        self._wake_starter(body)
        before, now = self._activities.get(key, IDLE), _activity(self.cluster.runs.get(key))
        if now == IDLE:
            self._activities.pop(key, None)
        else:
            self._activities[key] = now
        if before != now:
            for stack in {before[0], now[0]} - {None}:
                self.stacks.wake_after((key[0], str(stack)), ACTIVE_RUNS_DELAY_SECONDS)

    def _wake_starter(self, body: JsonObject) -> None:
        """Reconcile the Pipeline or PipelineSchedule that has started a run, where that stands otherwise than was told last."""
        key, run = key_of(body), self.cluster.runs.get(key_of(body))
        succeeded = condition_of(run, SUCCEEDED_CONDITION) if run is not None else None
        standing = (succeeded["status"], succeeded["reason"]) if succeeded is not None else (None, run is not None)
        if self._standings.get(key) == standing:
            return
        if run is None:
            self._standings.pop(key, None)
        else:
            self._standings[key] = standing
        owner = controller_of(body)
        if owner is not None and owner["kind"] == PIPELINE_SCHEDULES.kind:
            self.schedules.wake((key[0], owner["name"]))
        elif REVISION_LABEL in (body["metadata"].get("labels") or {}):
            self.pipelines.wake((key[0], pipeline_of(body)))

    def _child_changed(self, body: JsonObject) -> None:
        metadata = body["metadata"]
        name = (metadata.get("annotations") or {}).get(naming.RUN_NAME_ANNOTATION)
        if name is not None:
            self.runs.wake((metadata["namespace"], name))

    def _secret_changed(self, body: JsonObject) -> None:
        namespace, name = key_of(body)
        for component in self.cluster.components.in_namespace(namespace):
            key = key_of(component)
            if self._component_reconciler.uses_secret(key, name):
                self.components.wake(key)
                self._wake_dependents(key)

    def _wake_dependents(self, key: Key) -> None:
        for other in self.cluster.components.in_namespace(key[0]):
            if self._component_reconciler.depends_on(key_of(other), key[1]):
                self.components.wake(key_of(other))

    def _wake_component(self, key: Key) -> None:
        self.components.wake(key)

    def _release_changed(self, body: JsonObject) -> None:
        """Reconcile the component that an object was installed for."""
        namespace, label = body["metadata"]["namespace"], (body["metadata"].get("labels") or {}).get(COMPONENT_LABEL)
        for component in self.cluster.components.in_namespace(namespace):
            key = key_of(component)
            if shortened(key[1]) == label:
                self._component_reconciler.release_changed(key)
                self.components.wake(key)

    def _wake_run(self, key: Key) -> None:
        self.runs.wake(key)

    def _wake_waiting_runs(self, namespace: str, reason: str) -> None:
        for run in self.cluster.runs.in_namespace(namespace):
            conditions = (run.get("status") or {}).get("conditions", ())
            if any(item["reason"] == reason for item in conditions):
                self.runs.wake(key_of(run))

    def _touched(self, namespace: str, name: str, old: JsonObject | None, body: JsonObject) -> Iterable[str]:
        """Return the components whose `usedBy` a change of a Stack may have changed."""
        used = {
            component["metadata"]["name"]
            for component in self.cluster.components.in_namespace(namespace)
            if name in ((component.get("status") or {}).get("usedBy") or ())
        }
        return components_of(body) | (components_of(old) if old else frozenset()) | used

    def _informers(self, namespace: str | None) -> Iterable[Informer]:
        kubernetes = self.cluster.kubernetes
        changed = self._child_changed
        for resource, store, needed in (
            (JOBS, self.cluster.jobs, needed_of_job),
            (PODS, self.cluster.pods, needed_of_pod),
        ):
            yield Informer(kubernetes, resource, namespace, store, changed, selector=naming.SELECTOR, needed=needed)
        for resource, store in (
            (PODS, self.cluster.release_pods),
            (DEPLOYMENTS, ObjectStore()),
            (SERVICES, ObjectStore()),
        ):
            yield Informer(kubernetes, resource, namespace, store, self._release_changed, selector=COMPONENT_LABEL)
        yield Informer(
            kubernetes,
            SECRETS,
            namespace,
            self.cluster.secrets,
            self._secret_changed,
            fields=",".join(f"type!={type_}" for type_ in SECRET_TYPES_LEFT_OUT),
            metadata_only=True,
        )

    async def _load(self, resource: Resource, store: ObjectStore) -> None:
        """See all objects before kopf tells of them one by one, so that no Stack misses a component that is there."""
        for namespace in self.settings.namespace_list or (None,):
            items, _ = await self.cluster.kubernetes.list(resource, namespace)
            for body in items:
                _remember(store, None, bounded({"apiVersion": resource.api_version, "kind": resource.kind, **body}))


def _trace_sender(endpoint: str) -> TraceSender | None:
    if not endpoint:
        return None
    from cairn.clients.otlp import TraceSender  # noqa: PLC0415 - what it imports takes memory

    return TraceSender.to_collector(endpoint)


def _remember(store: ObjectStore, type_: str | None, body: JsonObject) -> None:
    if type_ == "DELETED":
        store.forget(body)  # kopf may tell of the next object of that name first
        return
    body["metadata"].pop("managedFields", None)
    (body["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)  # the whole object once more
    if (body.get("status") or {}).get("completionTime") and not is_followed_up(body):
        body["spec"] = {field: body["spec"][field] for field in KEPT_OF_SPEC if field in body["spec"]}
    store.put(body)


def _activity(run: JsonObject | None) -> Activity:
    """Return what of a run its Stack counts: the Stack, and whether the run has ended."""
    return stack_of(run or {}), bool(((run or {}).get("status") or {}).get("completionTime"))
