"""Makes, stops and removes the Jobs of runs, and the pods without one.

Each request can be repeated: names follow from run, step and attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace

from cairn.api.base import JsonObject
from cairn.api.deletion import finalizers_without_own, is_being_deleted, is_held
from cairn.api.labels import shortened
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.step import Step
from cairn.api.workloads import pod_has_ended
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import (
    CAN_BE_TRIED_AGAIN,
    JOBS,
    PODS,
    AlreadyExistsError,
    ApiError,
    ForbiddenError,
    InvalidError,
    Kubernetes,
    NotFoundError,
    Resource,
)
from cairn.clients.store import Key, key_of
from cairn.runs import naming
from cairn.runs.allowance import RESULTS_TOO_LARGE
from cairn.runs.attempts import (
    is_settled,
    newest_by_job,
    owned_by,
    run_index,
)
from cairn.runs.job import build_bare_pod, build_job
from cairn.runs.needed import remember
from cairn.runs.observation import (
    FAILED_CREATE,
    STOPPING_DEADLINE_SECONDS,
    attempts_in,
    has_ended,
)
from cairn.runs.planner import Stop, StopMode
from cairn.runs.pod import Attempt, PodContext
from cairn.runs.references import TextsTooLargeError
from cairn.runs.scheduling import Launch
from cairn.runs.step_plan import Refusal

CREATIONS_AT_ONCE = 32
SHORTEST_GRACE_SECONDS = 1
"""Zero would delete a pod from the API server before its containers have ended."""


class Workloads:
    """The requests that a plan asks for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._creating = asyncio.Semaphore(CREATIONS_AT_ONCE)

    async def launch(
        self, context: PodContext, steps: Mapping[str, Step], launches: Sequence[Launch]
    ) -> Mapping[str, Refusal]:
        """Create the Jobs or pods; return the steps whose Job or pod the API server refused."""
        refusals: dict[str, Refusal] = {}

        async def create(launch: Launch) -> None:
            attempts = [Attempt(steps[name], number) for name, number in launch.attempts]
            bare = context.stack.orchestrator.workload == "Pod"
            async with self._creating:
                try:
                    body = build_bare_pod(context, attempts) if bare else build_job(context, attempts)
                    refusal = await self._create(PODS if bare else JOBS, context.run.uid, body)
                except TextsTooLargeError as error:
                    refusal = Refusal(RESULTS_TOO_LARGE, f"Step {launch.attempts[0][0]}: {error}.", final=True)
            if refusal is not None:
                refusals[launch.attempts[0][0]] = refusal

        await asyncio.gather(*(create(launch) for launch in launches))
        return refusals

    async def stop(self, namespace: str, stops: Iterable[Stop]) -> None:
        """End attempts before they end by themselves."""
        results = await asyncio.gather(*(self._stop(namespace, stop) for stop in stops), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise errors[0]

    async def remove_left_over(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Delete what of a run that has ended still goes on: the operator may have been stopped before it could."""
        pods = self._cluster.pods.indexed(*run_index(body))
        of_jobs = newest_by_job(pods)
        by_themselves = {step.name for step in status.steps if _ended_by_itself(step)}
        for job in self._cluster.jobs.indexed(*run_index(body)):
            pod = of_jobs.get(job["metadata"]["uid"])
            if not has_ended(job) and not (pod is not None and pod_has_ended(pod)):
                await self._remove(JOBS, job, body, by_themselves)
        for pod in pods:
            if not pod_has_ended(pod):
                await self._remove(PODS, pod, body, by_themselves)

    async def release_settled(
        self, body: JsonObject, steps: Mapping[str, Step], statuses: Iterable[StepStatus]
    ) -> None:
        """Let those pods of a run go whose attempts are recorded as over."""
        recorded = {step.name: step for step in statuses}
        uid = body["metadata"]["uid"]
        await self._release(
            key_of(body), lambda pod: owned_by(pod, uid) and is_settled(attempts_in(pod, steps), recorded)
        )

    async def release_of_others(self, body: JsonObject) -> None:
        """Let the pods go of an earlier run of that name: they hold the names that this one's pods would have."""
        uid = body["metadata"]["uid"]
        await self._release(key_of(body), lambda pod: not owned_by(pod, uid))

    async def release_all(self, key: Key) -> None:
        """Let all pods of a run go that has ended, or is not there any more."""
        await self._release(key, lambda _: True)

    async def _release(self, run: Key, may_go: Callable[[JsonObject], bool]) -> None:
        """Let pods go that somebody has deleted, and whose end is recorded or does not matter any more."""
        for pod in self._cluster.pods.indexed(run[0], shortened(run[1])):
            if is_being_deleted(pod) and is_held(pod) and may_go(pod):
                version = pod["metadata"]["resourceVersion"]
                patch = {"metadata": {"finalizers": finalizers_without_own(pod), "resourceVersion": version}}
                with suppress(NotFoundError):
                    await self._cluster.kubernetes.merge(PODS, *key_of(pod), patch)

    async def _remove(
        self, resource: Resource, workload: JsonObject, run: JsonObject, ended_by_themselves: AbstractSet[str]
    ) -> None:
        """Delete a Job or pod of a run, unless all its steps have ended, which is about to be seen of it too."""
        metadata = workload["metadata"]
        steps = {name for name, _ in naming.attempts_of(metadata.get("annotations") or {})}
        wanted = owned_by(workload, run["metadata"]["uid"]) and not is_being_deleted(workload)
        if wanted and not steps <= ended_by_themselves:
            await self._cluster.kubernetes.delete(resource, *key_of(workload), uid=metadata["uid"])

    async def _create(self, resource: Resource, run_uid: str, body: JsonObject) -> Refusal | None:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        what = f"{resource.kind} {name}"
        try:
            try:
                created = await self._cluster.kubernetes.create(resource, namespace, body)
            except AlreadyExistsError:
                created = await self._cluster.kubernetes.get(resource, namespace, name)
                if not owned_by(created, run_uid):
                    return Refusal("NameTaken", _of_another(created, what))
        except InvalidError as error:
            return Refusal("InvalidSpec", f"The API server refuses {what}: {error.message}"[:1024], final=True)
        except CAN_BE_TRIED_AGAIN as error:
            refusal = refusal_of(error, f"The API server did not create {what}")
            refused = resource is PODS and isinstance(error, ForbiddenError)
            return replace(refusal, reason=FAILED_CREATE) if refused else refusal
        remember(self._cluster, resource, created)
        return None

    async def _stop(self, namespace: str, stop: Stop) -> None:
        attempt, kubernetes = stop.attempt, self._cluster.kubernetes
        if stop.mode is StopMode.GRACEFUL and attempt.pod_name is not None:
            try:
                stopped = await stop_pod(kubernetes, namespace, attempt.pod_name)
            except NotFoundError:
                return  # it has gone by itself, which is about to be seen
            remember(self._cluster, PODS, stopped)
            return
        immediate = stop.mode is StopMode.IMMEDIATE
        if attempt.job_name is not None and attempt.job_uid is not None:
            await kubernetes.delete(JOBS, namespace, attempt.job_name, uid=attempt.job_uid)
        if attempt.pod_name is not None and attempt.pod_uid is not None and (immediate or attempt.job_name is None):
            grace = SHORTEST_GRACE_SECONDS if immediate else None
            await kubernetes.delete(PODS, namespace, attempt.pod_name, uid=attempt.pod_uid, grace_seconds=grace)


def _ended_by_itself(step: StepStatus) -> bool:
    return step.state == "Succeeded" or (step.state == "Failed" and step.start_time is not None)


def _of_another(workload: JsonObject, what: str) -> str:
    if is_being_deleted(workload):
        return f"There is a {what} that is not this run's; it is being deleted, which is waited for."
    return f"There is a {what} that is not this run's; delete it."


async def stop_pod(kubernetes: Kubernetes, namespace: str, name: str) -> JsonObject:
    """Have the kubelet stop a pod, which stays, so that its end can be read; return it. Raises ApiError."""
    deadline = {"spec": {"activeDeadlineSeconds": STOPPING_DEADLINE_SECONDS}}
    return await kubernetes.merge(PODS, namespace, name, deadline)


def refusal_of(error: BaseException, what: str) -> Refusal:
    """Return what is said of a request that the API server refused, or did not answer."""
    if isinstance(error, ApiError):
        reason = error.reason if error.reason.isalnum() else "ApiError"
        return Refusal(reason, f"{what}: {error.message}; it is tried again."[:1024])
    return Refusal("ApiServerUnreachable", f"{what}: {type(error).__name__}; it is tried again.")
