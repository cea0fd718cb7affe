"""Runs on Kubeflow Pipelines: submitted as a whole, followed to their ends."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from cairn.api.base import FINALIZER, JsonObject
from cairn.api.conditions import find_condition
from cairn.api.deletion import is_held
from cairn.api.pipelinerun_status import OrchestratorRun, PipelineRunStatus, StepStatus
from cairn.api.time import parse
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import PIPELINE_RUNS, ForbiddenError
from cairn.clients.store import Key, key_of
from cairn.clients.wake import Wake
from cairn.components.base import StoreClient
from cairn.components.connections import Connections
from cairn.components.errors import ComponentError
from cairn.runs.execution import Execution
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.attempts import TERMINATED, TERMINATED_MESSAGE, Sight, attempts_of
from cairn.runs.kubeflow.followed_run import SECRET_REASONS, FollowedRun
from cairn.runs.kubeflow.followed_runs import FollowedRuns
from cairn.runs.kubeflow.objections import objections
from cairn.runs.kubeflow.run_request import run_request
from cairn.runs.kubeflow.scheduler import WholeRun
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.outcome import STACK_NOT_READY
from cairn.runs.planner import Observed, Plan, Trouble
from cairn.runs.pod import PodContext
from cairn.runs.problem import all_told
from cairn.runs.readiness import Settled
from cairn.runs.scheduling import Launch, Scheduler
from cairn.runs.states import ACTIVE, ENDED
from cairn.runs.status import SUCCEEDED_CONDITION
from cairn.runs.step_plan import Refusal
from cairn.stacks.resolution import UsableStack

FIRST_LOOK_SECONDS = 0.5
"""How long the first answer about a run is waited for, while other runs wait; one that comes later is told."""
END_LOOK_SECONDS = 30.0
"""How often a run that is to end there is looked at though nothing is heard of it."""
SECRETS_PATIENCE = timedelta(seconds=60)
"""How long after a deletion a Secret may be missing: it may be about to be replaced."""
RUN_DELETED = "KubeflowRunDeleted"
NOT_RUN = "NotRun"
NOT_ENDED = "KubeflowRunNotEnded"
POD_NOT_STOPPED = "PodNotStopped"
DELETION_WAITS = (
    f"Deletion waits until the run has ended on Kubeflow Pipelines; to give up, take finalizer {FINALIZER} off."
)
COMPONENTS_GONE = Trouble(STACK_NOT_READY, "The components that the run began with are gone; create them again.")


class KubeflowExecution(Execution):
    """Of the orchestrator `kubeflow`."""

    shares_environment = True

    def __init__(self, cluster: Cluster, stores: Connections[StoreClient], clock: Clock, wake: Wake) -> None:
        self._cluster = cluster
        self._clock = clock
        self._runs = FollowedRuns(cluster, stores, wake)

    def scheduler(self, body: JsonObject, steps: RunSteps, stack: UsableStack) -> Scheduler | None:  # noqa: ARG002 - what is submitted is submitted
        """Return what submits a run; None once Kubeflow Pipelines has it, and where its components are gone."""
        followed = self._runs.get(key_of(body))
        return WholeRun() if followed is not None and followed.run_id is None else None

    async def problem_of(self, context: PodContext, steps: RunSteps) -> str | None:
        """Return what Kubeflow Pipelines cannot express of a run, or None."""
        return all_told(objections(context, steps))

    async def hold(self, body: JsonObject) -> JsonObject | None:
        """Have the deletion of a run wait until it has ended on Kubeflow Pipelines."""
        return await self._cluster.hold(PIPELINE_RUNS, self._cluster.runs, body)

    async def observe(
        self, body: JsonObject, steps: RunSteps, status: PipelineRunStatus, stack: UsableStack | None
    ) -> Observed:
        """Return the attempts as Kubeflow Pipelines, and its pods, show them."""
        recorded = {step.name: step for step in status.steps}
        observed = Observed(recorded, start_time=status.start_time)
        followed = self._runs.of(body, steps, status, stack)
        if followed is None or followed.is_unknown:
            trouble = _trouble(followed.problem) if followed is not None else COMPONENTS_GONE
            as_recorded = tuple(_as_recorded(step) for step in status.steps if step.state in ACTIVE)
            return replace(observed, attempts=as_recorded, trouble=trouble, steps_may_begin=followed is not None)
        run_id = followed.run_id
        if run_id is None:
            return observed
        followed.recorded = {name for name, step in recorded.items() if step.state in ENDED}
        followed.follow()
        await followed.looked(FIRST_LOOK_SECONDS)
        attempts = list(await self._seen(followed, steps, recorded))
        names = {attempt.step for attempt in attempts}
        if not followed.is_final:
            attempts += [_as_recorded(step) for step in status.steps if step.state in ACTIVE and step.name not in names]
        end = _end_of_what_is_left(followed)
        lost = list(_lost(followed, status.steps, names, end)) if end is not None else []
        names = {attempt.step for attempt in lost}
        return replace(
            observed,
            attempts=(*(attempt for attempt in attempts if attempt.step not in names), *lost),
            orchestrator_run=OrchestratorRun(
                id=run_id, endpoint=followed.endpoint, url=followed.site.orchestrator.url_of(run_id)
            ),
            is_whole=True,
            steps_may_begin=end is None and not followed.is_terminated,
            never_begun=end,
            trouble=_trouble(followed.problem),
        )

    async def look_for_unanswered(self, body: JsonObject) -> None:
        """Ask whether a run was submitted: it may have been though no answer came."""
        followed = self._runs.get(key_of(body))
        if followed is not None:
            followed.seek()
            await followed.looked(FIRST_LOOK_SECONDS)

    async def launch(self, context: PodContext, steps: RunSteps, launches: Sequence[Launch]) -> Mapping[str, Refusal]:
        """Submit the run; return why it could not be, as far as that is known by then, by the step that is to begin."""
        names = [name for launch in launches for name, _ in launch.attempts]
        followed = self._runs.get((context.run.namespace, context.run.name))
        if followed is None:
            return {names[0]: Refusal(COMPONENTS_GONE.reason, COMPONENTS_GONE.message)}
        followed.submit(run_request(context, steps, names, followed.site.orchestrator))
        await followed.looked(FIRST_LOOK_SECONDS)
        problem = followed.problem
        if followed.run_id is not None or problem is None:
            return {}
        return {names[0]: Refusal(problem.reason, problem.message, final=followed.is_refused)}

    async def stop(self, body: JsonObject, planned: Plan) -> None:
        """End the run where all of it is to end, else the pods of attempts that have taken too long."""
        followed = self._runs.get(key_of(body))
        if followed is None:
            return
        if planned.is_ending:
            followed.terminate()
            return
        for stop in planned.stops:
            try:
                await self._runs.pods.stop(followed.site.orchestrator.config.namespace, stop)
            except ForbiddenError as error:
                note = f"The pod of step {stop.attempt.step} cannot be stopped: {error.message}"
                await self._cluster.events.record(body, "Warning", POD_NOT_STOPPED, "Stop", note[:1024])

    async def release_settled(self, body: JsonObject, steps: RunSteps, statuses: Iterable[StepStatus]) -> None:
        """Nothing is held."""

    async def release_of_others(self, body: JsonObject) -> None:
        """Nothing is held."""

    async def end(self, body: JsonObject, status: PipelineRunStatus) -> float | None:
        """See that a run that has ended does not go on there; return in how many seconds to look at it again.

        One that has succeeded has nothing left to run, and may say so a moment later.
        """
        if not is_held(body):
            self._runs.forget(key_of(body))
            return None
        if _may_go_on(status):
            followed = await self._terminated(body, status)
            if followed is not None and not followed.is_ending:
                return END_LOOK_SECONDS
            await self._tell_if_it_may_go_on(body, followed)
        await self._let_go(body)
        return None

    async def release(self, key: Key, body: JsonObject | None) -> float | None:
        """End a run that is being deleted; return in how many seconds to look at it again."""
        if body is None or not is_held(body):
            self._runs.forget(key)
            return None
        status = PipelineRunStatus.model_validate(body.get("status") or {}, extra="ignore")
        if _may_go_on(status):
            followed = await self._terminated(body, status)
            if followed is not None and not followed.is_ending and not self._has_no_way(body, followed):
                await self._tell_that_it_waits(body, followed.problem)
                return END_LOOK_SECONDS
            await self._tell_if_it_may_go_on(body, followed)
        await self._let_go(body)
        return None

    def shut_down(self) -> None:
        """Watch pods no longer, and follow no run."""
        self._runs.shut_down()

    async def close(self) -> None:
        """Close the connections."""
        await self._runs.close()

    async def _terminated(self, body: JsonObject, status: PipelineRunStatus) -> FollowedRun | None:
        """Return a run that is to end there; None where its components are gone."""
        followed = self._runs.of(body, None, status, None)
        if followed is not None:
            followed.terminate()
            followed.follow()
            await followed.looked(FIRST_LOOK_SECONDS)
        return followed

    def _has_no_way(self, body: JsonObject, followed: FollowedRun) -> bool:
        """Return whether what is needed to log in has gone before the run, as where a namespace is deleted."""
        since = self._clock.now() - parse(body["metadata"]["deletionTimestamp"])
        problem = followed.problem
        return problem is not None and problem.reason in SECRET_REASONS and since >= SECRETS_PATIENCE

    async def _tell_that_it_waits(self, body: JsonObject, problem: ComponentError | None) -> None:
        if problem is not None:
            note = f"{DELETION_WAITS} {problem.message}"
            await self._cluster.events.record(body, "Warning", problem.reason, "Delete", note[:1024])

    async def _tell_if_it_may_go_on(self, body: JsonObject, followed: FollowedRun | None) -> None:
        if followed is None or not followed.is_ending:
            note = "Its way into Kubeflow Pipelines is gone; if the run goes on there, terminate it there."
            await self._cluster.events.record(body, "Warning", NOT_ENDED, "Delete", note)

    async def _let_go(self, body: JsonObject) -> None:
        self._runs.forget(key_of(body))
        await self._cluster.let_go(PIPELINE_RUNS, self._cluster.runs, body)

    async def _seen(
        self, followed: FollowedRun, steps: RunSteps, recorded: Mapping[str, StepStatus]
    ) -> Iterable[AttemptObservation]:
        run_id, namespace, pods = followed.run_id or "", followed.site.orchestrator.config.namespace, self._runs.pods
        if followed.details is None:
            return ()
        of_run = list(pods.of(namespace, run_id))
        sight = Sight(
            followed.details,
            of_run,
            self._clock.now(),
            are_all_pods_seen=await pods.are_seen(namespace),
            recorded={name: step.attempts for name, step in recorded.items()},
            outputs=dict(followed.outputs),
            logs=pods.logs_of(run_id),
        )
        seen = list(attempts_of(sight, steps.by_name))
        wanted = {attempt.pod_uid for attempt in seen if attempt.wants_log_of is not None}
        for pod in of_run:
            if pod["metadata"]["uid"] in wanted:
                pods.read_log(run_id, pod)
        return seen


def _may_go_on(status: PipelineRunStatus) -> bool:
    """Return whether Kubeflow Pipelines may have a run that goes on: what is submitted is recorded before."""
    succeeded = find_condition(status.conditions, SUCCEEDED_CONDITION)
    is_submitted = status.orchestrator_run is not None or any(step.attempts for step in status.steps)
    return is_submitted and (succeeded is None or succeeded.status != "True")


def _trouble(problem: ComponentError | None) -> Trouble | None:
    return Trouble(problem.reason, problem.message) if problem is not None else None


def _as_recorded(step: StepStatus) -> AttemptObservation:
    """Return an attempt of which nothing new is known."""
    phase = Phase.RUNNING if step.state == "Running" else Phase.WAITING
    return AttemptObservation(
        step.name, step.attempts, phase, pod_name=step.pod_name, started=step.start_time, awaits_turn=True
    )


def _end_of_what_is_left(followed: FollowedRun) -> Settled | None:
    """Return how steps end of which no end was told, once nothing more is to be heard of them."""
    if followed.is_gone:
        return Settled("Failed", RUN_DELETED, "Somebody has deleted the run in Kubeflow Pipelines.")
    details = followed.details
    if details is not None and details.is_settled and details.was_terminated:
        return Settled("Failed", TERMINATED, TERMINATED_MESSAGE)
    if followed.is_final:
        return Settled("Failed", NOT_RUN, f"Kubeflow Pipelines has ended run {followed.run_id} without it.")
    return None


def _lost(
    followed: FollowedRun, recorded: Iterable[StepStatus], seen: Container[str], end: Settled
) -> Iterable[AttemptObservation]:
    """Yield the attempts of steps that will not go on, since their run has ended."""
    for step in recorded:
        if step.attempts and step.state not in ENDED and (step.name not in seen or followed.is_gone):
            yield AttemptObservation(
                step.name,
                step.attempts,
                Phase.FAILED,
                reason=end.reason,
                message=end.message,
                is_last=True,
                fault=Fault.STOPPED,
            )
