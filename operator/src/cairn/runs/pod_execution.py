"""Attempts as Jobs and pods of the run's namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.store import Key, key_of
from cairn.runs.admission import PodAdmission
from cairn.runs.attempts import AttemptReader
from cairn.runs.execution import Execution
from cairn.runs.instances import RunSteps
from cairn.runs.planner import Observed, Plan
from cairn.runs.pod import PodContext
from cairn.runs.pod_context import scheduler_of
from cairn.runs.pod_objections import PodObjections
from cairn.runs.scheduling import Launch, Scheduler
from cairn.runs.step_plan import Refusal
from cairn.runs.workloads import Workloads
from cairn.stacks.resolution import UsableStack


class PodExecution(Execution):
    """Of the orchestrators `kubernetes` and `local`."""

    shares_environment = False

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._admission = PodAdmission(cluster.kubernetes, clock)
        self._attempts = AttemptReader(cluster, PodObjections(cluster.kubernetes, clock), clock)
        self._workloads = Workloads(cluster)

    def scheduler(self, body: JsonObject, steps: RunSteps, stack: UsableStack) -> Scheduler:
        """Return what decides which steps start together, and which share a pod."""
        return scheduler_of(steps, stack, body)

    async def problem_of(self, context: PodContext, steps: RunSteps) -> str | None:
        """Return what the API server has against the pods of a run, or None."""
        return await self._admission.problem_of(context, steps)

    async def hold(self, body: JsonObject) -> JsonObject:
        """Return the run: Kubernetes deletes what it owns."""
        return body

    async def observe(
        self,
        body: JsonObject,
        steps: RunSteps,
        status: PipelineRunStatus,
        stack: UsableStack | None,  # noqa: ARG002 - what is there is there
    ) -> Observed:
        """Return the attempts as Jobs and pods show them."""
        return await self._attempts.observe(body, steps.by_name, status)

    async def look_for_unanswered(self, body: JsonObject) -> None:
        """Ask for all Jobs and pods of a run: the API server may have created what it gave no answer to."""
        await self._attempts.look_for_unanswered(body)

    async def launch(self, context: PodContext, steps: RunSteps, launches: Sequence[Launch]) -> Mapping[str, Refusal]:
        """Create the Jobs or pods; return the steps whose Job or pod the API server refused."""
        return await self._workloads.launch(context, steps.by_name, launches)

    async def stop(self, body: JsonObject, planned: Plan) -> None:
        """Have pods stopped, or delete them."""
        await self._workloads.stop(body["metadata"]["namespace"], planned.stops)

    async def release_settled(self, body: JsonObject, steps: RunSteps, statuses: Iterable[StepStatus]) -> None:
        """Let those pods of a run go whose attempts are recorded as over."""
        await self._workloads.release_settled(body, steps.by_name, statuses)

    async def release_of_others(self, body: JsonObject) -> None:
        """Let the pods go of an earlier run of that name: they hold the names that this one's pods would have."""
        await self._workloads.release_of_others(body)

    async def end(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Delete what of a run that has ended still goes on, and let its pods go."""
        key = key_of(body)
        self._attempts.forget(key)
        await self._workloads.remove_left_over(body, status)
        await self._workloads.release_all(key)

    async def release(self, key: Key, body: JsonObject | None) -> None:  # noqa: ARG002 - Kubernetes deletes what it owns
        """Let all pods go of a run that is being deleted, or is gone."""
        self._attempts.forget(key)
        await self._workloads.release_all(key)

    def shut_down(self) -> None:
        """Nothing is done beside the reconciles."""

    async def close(self) -> None:
        """Nothing is open but the way to the API server."""
