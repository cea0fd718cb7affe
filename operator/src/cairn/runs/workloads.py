"""Makes, stops and removes the Jobs of runs. Each request can be repeated: names follow from run, step and attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.step import Step
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import JOBS, PODS, AlreadyExistsError, ApiError, InvalidError, NotFoundError
from cairn.clients.store import key_of
from cairn.runs.attempts import CAN_BE_TRIED_AGAIN, newest_by_job, owned_by, run_index
from cairn.runs.job import build_job
from cairn.runs.needed import needed_of_job, needed_of_pod
from cairn.runs.observation import has_ended, pod_has_ended
from cairn.runs.planner import Stop, StopMode
from cairn.runs.pod import Attempt, PodContext
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
        self, context: PodContext, steps: Iterable[Step], launches: Sequence[Launch]
    ) -> Mapping[str, Refusal]:
        """Create the Jobs; return the steps whose Job the API server refused."""
        by_name = {step.name: step for step in steps}
        refusals: dict[str, Refusal] = {}

        async def create(launch: Launch) -> None:
            attempts = [Attempt(by_name[name], number) for name, number in launch.attempts]
            async with self._creating:
                refusal = await self._create(context.run.uid, build_job(context, attempts))
            if refusal is not None:
                refusals[launch.attempts[0][0]] = refusal

        await asyncio.gather(*(create(launch) for launch in launches))
        return refusals

    async def stop(self, namespace: str, stops: Iterable[Stop]) -> None:
        """End attempts before they end by themselves."""
        await asyncio.gather(*(self._stop(namespace, stop) for stop in stops))

    async def remove_left_over(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Delete what of a run that has ended still goes on: the operator may have been stopped before it could."""
        pods = newest_by_job(self._cluster.pods.indexed(*run_index(body)))
        by_themselves = {step.job_name for step in status.steps if _ended_by_itself(step)}
        cut_short = {step.job_name for step in status.steps if not _ended_by_itself(step)}
        for job in self._cluster.jobs.indexed(*run_index(body)):
            metadata = job["metadata"]
            pod = pods.get(metadata["uid"])
            over = has_ended(job) or (pod is not None and pod_has_ended(pod)) or "deletionTimestamp" in metadata
            needed = (
                metadata["name"] in by_themselves - cut_short
            )  # the Job controller is about to see that it has ended
            if owned_by(job, body["metadata"]["uid"]) and not over and not needed:
                await self._cluster.kubernetes.delete(JOBS, *key_of(job), uid=metadata["uid"])

    async def _create(self, run_uid: str, job: JsonObject) -> Refusal | None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        try:
            try:
                created = await self._cluster.kubernetes.create(JOBS, namespace, job)
            except AlreadyExistsError:
                created = await self._cluster.kubernetes.get(JOBS, namespace, name)
                if not owned_by(created, run_uid):
                    return Refusal("NameTaken", f"There is a Job {name} that is not this run's; delete it.")
        except InvalidError as error:
            return Refusal("InvalidSpec", f"The API server refuses Job {name}: {error.message}"[:1024], final=True)
        except CAN_BE_TRIED_AGAIN as error:
            return refusal_of(error, f"The API server did not create Job {name}")
        self._cluster.jobs.put(needed_of_job(created))
        return None

    async def _stop(self, namespace: str, stop: Stop) -> None:
        attempt, kubernetes = stop.attempt, self._cluster.kubernetes
        if stop.mode is StopMode.GRACEFUL and attempt.pod_name is not None:
            deadline = {"spec": {"activeDeadlineSeconds": 1}}
            try:
                stopped = await kubernetes.merge(PODS, namespace, attempt.pod_name, deadline)
            except NotFoundError:
                return  # it has gone by itself, which is about to be seen
            self._cluster.pods.put(needed_of_pod(stopped))
            return
        await kubernetes.delete(JOBS, namespace, attempt.job_name, uid=attempt.job_uid)
        if stop.mode is StopMode.IMMEDIATE and attempt.pod_name is not None and attempt.pod_uid is not None:
            await kubernetes.delete(
                PODS, namespace, attempt.pod_name, uid=attempt.pod_uid, grace_seconds=SHORTEST_GRACE_SECONDS
            )


def _ended_by_itself(step: StepStatus) -> bool:
    return step.state == "Succeeded" or (step.state == "Failed" and step.start_time is not None)


def refusal_of(error: BaseException, what: str) -> Refusal:
    """Return what is said of a request that the API server refused, or did not answer."""
    if isinstance(error, ApiError):
        reason = error.reason if error.reason.isalnum() else "ApiError"
        return Refusal(reason, f"{what}: {error.message}; it is tried again."[:1024])
    return Refusal("ApiServerUnreachable", f"{what}: {type(error).__name__}; it is tried again.")
