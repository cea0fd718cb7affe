"""Runs on Kubeflow Pipelines: submitted as a whole, followed to their ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cairn.api.base import FINALIZER, JsonObject
from cairn.api.pipelinerun_status import OrchestratorRun, PipelineRunStatus, StepStatus
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kfp import KubeflowPipelines
from cairn.clients.kubernetes import PIPELINE_RUNS
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import ARTIFACT_STORE, ORCHESTRATOR, ArtifactStore, StoreClient
from cairn.components.connections import Connections
from cairn.components.neighbours import Neighbours
from cairn.components.orchestrator.kubeflow.orchestrator import Kubeflow
from cairn.runs.execution import Execution
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.attempts import TERMINATED, TERMINATED_MESSAGE, Sight, attempts_of
from cairn.runs.kubeflow.followed_run import FollowedRun, RunName
from cairn.runs.kubeflow.objections import objections
from cairn.runs.kubeflow.pods import KubeflowPods
from cairn.runs.kubeflow.scheduler import WholeRun
from cairn.runs.kubeflow.site import Connected, Site
from cairn.runs.kubeflow.submission import submission_of
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.planner import Observed, Plan, Trouble
from cairn.runs.pod import PodContext
from cairn.runs.scheduling import Launch, Scheduler
from cairn.runs.states import ACTIVE, ENDED
from cairn.runs.step_plan import Refusal
from cairn.runs.workloads import Workloads
from cairn.stacks.resolution import UsableStack

FIRST_LOOK_SECONDS = 5.0
"""How long the first answer about a run is waited for; it goes on beside the reconciles."""
END_LOOK_SECONDS = 30.0
"""How often a run that is being deleted is looked at though nothing is heard of it."""
RUN_DELETED = "KubeflowRunDeleted"
NOT_RUN = "NotRun"
NOT_ENDED = "KubeflowRunNotEnded"
SECRET_REASONS = frozenset({"SecretNotFound", "SecretKeyMissing"})


class KubeflowExecution(Execution):
    """Of the orchestrator `kubeflow`."""

    shares_environment = True

    def __init__(self, cluster: Cluster, stores: Connections[StoreClient], clock: Clock, wake: Wake) -> None:
        self._cluster = cluster
        self._connected = Connected(Connections[KubeflowPipelines](cluster), stores)
        self._clock = clock
        self._wake = wake
        self._workloads = Workloads(cluster)
        self._pods = KubeflowPods(cluster, self._pod_changed)
        self._followed: dict[Key, tuple[str, FollowedRun]] = {}
        """By run, with its UID."""
        self._keys: dict[str, Key] = {}
        """Runs by their IDs."""

    def scheduler(self, body: JsonObject, steps: RunSteps, stack: UsableStack) -> Scheduler | None:  # noqa: ARG002 - what is submitted is submitted
        """Return what submits a run; None as long as Kubeflow Pipelines has it. What is left then is not run any more."""
        known = self._followed.get(key_of(body))
        return WholeRun() if known is None or known[1].run_id is None or known[1].is_final else None

    async def problem_of(self, context: PodContext, steps: RunSteps) -> str | None:
        """Return what Kubeflow Pipelines cannot express of a run, or None."""
        found = objections(context, steps)
        return "; ".join(str(problem) for problem in found[:10]) or None

    async def hold(self, body: JsonObject) -> JsonObject | None:
        """Have the deletion of a run wait until it has ended on Kubeflow Pipelines."""
        finalizers = body["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            return body
        return await self._cluster.set_finalizers(PIPELINE_RUNS, self._cluster.runs, body, [*finalizers, FINALIZER])

    async def observe(
        self, body: JsonObject, steps: RunSteps, status: PipelineRunStatus, stack: UsableStack | None
    ) -> Observed:
        """Return the attempts as Kubeflow Pipelines, and its pods, show them."""
        recorded = {step.name: step for step in status.steps}
        observed = Observed(recorded, start_time=status.start_time)
        followed = self._follow(body, steps, status, stack)
        if followed is None or followed.is_unknown:
            trouble = followed.problem if followed is not None else None
            as_recorded = tuple(_as_recorded(step) for step in status.steps if step.state in ACTIVE)
            return replace(observed, attempts=as_recorded, trouble=trouble and Trouble(trouble.reason, trouble.message))
        run_id = followed.run_id
        if run_id is None:
            return observed
        self._keys[run_id] = key_of(body)
        followed.recorded = {name for name, step in recorded.items() if step.state in ENDED}
        orchestrator = followed.site.orchestrator
        followed.follow()
        await followed.looked(FIRST_LOOK_SECONDS)
        seen = {(attempt.step, attempt.number): attempt for attempt in await self._seen(followed, steps, recorded)}
        for name, step in recorded.items():
            if step.state in ACTIVE and not followed.is_final and not any(of == name for of, _ in seen):
                seen[name, step.attempts] = _as_recorded(step)
        seen |= {(lost.step, lost.number): lost for lost in _lost(followed, status.steps, {name for name, _ in seen})}
        trouble = followed.problem
        return replace(
            observed,
            attempts=tuple(seen.values()),
            orchestrator_run=OrchestratorRun(id=run_id, url=orchestrator.url_of(run_id)),
            is_whole=True,
            trouble=trouble and Trouble(trouble.reason, trouble.message),
        )

    async def look_for_unanswered(self, body: JsonObject) -> None:
        """Ask whether a run was submitted: it may have been though no answer came."""
        known = self._followed.get(key_of(body))
        if known is not None:
            known[1].seek()
            await known[1].looked(FIRST_LOOK_SECONDS)

    async def launch(self, context: PodContext, steps: RunSteps, launches: Sequence[Launch]) -> Mapping[str, Refusal]:
        """Submit the run; return why it could not be, as far as that is known by then, by the step that is to begin."""
        names = [name for launch in launches for name, _ in launch.attempts]
        followed = self._followed[context.run.namespace, context.run.name][1]
        if followed.run_id is not None:
            return {
                names[0]: Refusal(
                    NOT_RUN, f"Kubeflow Pipelines has ended run {followed.run_id} without it.", final=True
                )
            }
        followed.submit(submission_of(context, steps, names, followed.site.orchestrator))
        await followed.looked(FIRST_LOOK_SECONDS)
        problem = followed.problem
        if followed.run_id is not None or problem is None:
            return {}
        return {names[0]: Refusal(problem.reason, problem.message, final=followed.is_refused)}

    async def stop(self, body: JsonObject, planned: Plan) -> None:
        """End the run where all of it is to end, else the pods of attempts that have taken too long."""
        known = self._followed.get(key_of(body))
        if known is None or not planned.stops:
            return
        if planned.is_ending:
            known[1].terminate()
            return
        seen = [stop for stop in planned.stops if stop.attempt.pod_name is not None]
        await self._workloads.stop(known[1].site.orchestrator.config.namespace, seen)

    async def release_settled(self, body: JsonObject, steps: RunSteps, statuses: Iterable[StepStatus]) -> None:
        """Nothing is held."""

    async def release_of_others(self, body: JsonObject) -> None:
        """Nothing is held."""

    async def end(self, body: JsonObject, status: PipelineRunStatus) -> None:  # noqa: ARG002 - it has ended there, too
        """Stop following a run that has ended, and let its deletion go on."""
        self.forget(key_of(body))
        await self._let_go(body)

    async def release(self, body: JsonObject, status: PipelineRunStatus) -> float | None:
        """End a run that is being deleted; return in how many seconds to look at it again, None once it may go."""
        if FINALIZER not in (body["metadata"].get("finalizers") or ()):
            self.forget(key_of(body))
            return None
        followed = self._follow(body, None, status, None) if status.completion_time is None else None
        if followed is not None:
            followed.terminate()
            await followed.looked(FIRST_LOOK_SECONDS)
            problem = followed.problem
            if not followed.is_ending and (problem is None or problem.reason not in SECRET_REASONS):
                if problem is not None:
                    note = f"Deletion waits until the run has ended on Kubeflow Pipelines. {problem.message}"
                    await self._cluster.events.record(body, "Warning", problem.reason, "Delete", note[:1024])
                return END_LOOK_SECONDS
        if status.stack is not None and status.completion_time is None and (followed is None or not followed.is_ending):
            note = "Its way into Kubeflow Pipelines is gone; if the run goes on there, terminate it there."
            await self._cluster.events.record(body, "Warning", NOT_ENDED, "Delete", note)
        await self.end(body, status)
        return None

    def forget(self, key: Key) -> None:
        """Stop following a run."""
        known = self._followed.pop(key, None)
        if known is not None:
            known[1].stop()
            self._keys.pop(known[1].run_id or "", None)
            self._pods.forget(known[1].run_id or "")

    async def close(self) -> None:
        """Close the connections."""
        await self._connected.servers.close()

    def stop_watching(self) -> None:
        """Watch pods no longer, and follow no run."""
        self._pods.stop()
        for key in list(self._followed):
            self.forget(key)

    async def _let_go(self, body: JsonObject) -> None:
        finalizers = body["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            kept = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
            await self._cluster.set_finalizers(PIPELINE_RUNS, self._cluster.runs, body, kept)

    def _follow(
        self, body: JsonObject, steps: RunSteps | None, status: PipelineRunStatus, stack: UsableStack | None
    ) -> FollowedRun | None:
        """Return what follows a run; None where its components are gone."""
        key, uid = key_of(body), body["metadata"]["uid"]
        site = self._site(key[0], status, stack)
        known = self._followed.get(key)
        if known is not None and known[0] == uid:
            known[1].site = site or known[1].site
            return known[1]
        self.forget(key)
        if site is None:
            return None
        spec, name = body["spec"], body["metadata"]["name"]
        run_name = RunName(f"{name}-{uid}", spec["pipeline"], spec.get("experiment") or spec["pipeline"])
        run_id = status.orchestrator_run.id if status.orchestrator_run is not None else None
        by_name = steps.by_name if steps is not None else {}
        followed = FollowedRun(run_name, run_id, by_name, site, lambda: self._wake(key))
        self._followed[key] = uid, followed
        return followed

    def _site(self, namespace: str, status: PipelineRunStatus, stack: UsableStack | None) -> Site | None:
        """Return where a run is carried out: by the components that it has begun with, as they are now."""
        begun_with = status.stack.components if status.stack is not None else stack.components if stack else ()
        names = {component.type: component.name for component in begun_with}
        neighbours = Neighbours(self._cluster, namespace)
        orchestrator = neighbours.component(names.get(ORCHESTRATOR, ""))
        store = neighbours.component(names.get(ARTIFACT_STORE, ""))
        if not isinstance(orchestrator, Kubeflow):
            return None
        return Site(orchestrator, store if isinstance(store, ArtifactStore) else None, self._connected)

    async def _seen(
        self, followed: FollowedRun, steps: RunSteps, recorded: Mapping[str, StepStatus]
    ) -> Iterable[AttemptObservation]:
        run_id, namespace = followed.run_id or "", followed.site.orchestrator.config.namespace
        if followed.details is None:
            return ()
        pods = list(self._pods.of(namespace, run_id))
        sight = Sight(
            followed.details,
            pods,
            self._clock.now(),
            are_all_pods_seen=await self._pods.are_seen(namespace),
            recorded={name: step.attempts for name, step in recorded.items()},
            outputs=dict(followed.outputs),
            logs=self._pods.logs_of(run_id),
        )
        seen = list(attempts_of(sight, steps.by_name))
        wanted = {attempt.pod_uid for attempt in seen if attempt.wants_log_of is not None}
        for pod in pods:
            if pod["metadata"]["uid"] in wanted:
                self._pods.read_log(run_id, pod)
        return seen

    def _pod_changed(self, run_id: str) -> None:
        key = self._keys.get(run_id)
        if key is not None:
            self._followed[key][1].look_again()
            self._wake(key)


def _as_recorded(step: StepStatus) -> AttemptObservation:
    """Return an attempt of which nothing new is known."""
    phase = Phase.RUNNING if step.state == "Running" else Phase.WAITING
    return AttemptObservation(step.name, step.attempts, phase, pod_name=step.pod_name, started=step.start_time)


def _lost(
    followed: FollowedRun, recorded: Iterable[StepStatus], seen: frozenset[str] | set[str]
) -> Iterable[AttemptObservation]:
    """Yield the steps that will not run any more, since their run has been deleted, or was ended."""
    details = followed.details
    if followed.is_gone:
        reason, message = RUN_DELETED, "Somebody has deleted the run in Kubeflow Pipelines."
    elif details is not None and details.is_settled and details.was_terminated:
        reason, message = TERMINATED, TERMINATED_MESSAGE
    else:
        return
    fields: dict[str, Any] = {"reason": reason, "message": message, "is_last": True, "fault": Fault.STOPPED}
    for step in recorded:
        if step.state not in ENDED and (step.name not in seen or followed.is_gone):
            yield AttemptObservation(step.name, max(1, step.attempts), Phase.FAILED, **fields)
