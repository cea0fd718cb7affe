"""Carries runs out: observe, plan, act, record. Holds only what can be found out again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace as with_changes
from datetime import UTC, datetime

import aiohttp
from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.pipelinerun import PipelineRunSpec, PipelineRunStatus, StepStatus
from cairn.api.time import seconds_between, timestamp
from cairn.clients import metrics
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import (
    JOBS,
    PIPELINE_RUNS,
    PODS,
    AlreadyExistsError,
    ApiError,
    InvalidError,
    NotFoundError,
)
from cairn.clients.store import Key, key_of
from cairn.runs import naming
from cairn.runs.admission import PodAdmission
from cairn.runs.job import build_job
from cairn.runs.observation import AttemptObservation, observe_job
from cairn.runs.planner import ENDED, Observed, Outcome, Plan, Refusal, plan
from cairn.runs.pod import Attempt, PodContext, TransferImage, pod_settings, step_template
from cairn.runs.references import Values
from cairn.runs.scheduling import Launch, OneJobPerStep, OnePodForAll, Scheduler
from cairn.runs.stack_choice import Choice, choose_stack
from cairn.runs.status import record, refused, waiting
from cairn.runs.validation import problems_of
from cairn.stacks.resolution import UsableStack

logger = logging.getLogger(__name__)

RETRY_REFUSED_SECONDS = 10.0
CREATIONS_AT_ONCE = 32
CAN_BE_TRIED_AGAIN = (ApiError, aiohttp.ClientError, TimeoutError)
STACK_NOT_READY = "StackNotReady"
LOG_TAIL_BYTES = 16 * 1024
LOG_TAIL_LINES = 40


class RunReconciler:
    """Reconciles one PipelineRun at a time."""

    def __init__(self, cluster: Cluster, transfer: TransferImage) -> None:
        self._cluster = cluster
        self._transfer = transfer
        self._admission = PodAdmission(cluster.kubernetes)
        self._logs: dict[Key, dict[tuple[str, str], str]] = {}
        """What was read of containers' logs, by pod UID and container, for as long as the run is active."""
        self._creating = asyncio.Semaphore(CREATIONS_AT_ONCE)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one run a step further; return in how many seconds to look at it again."""
        body = self._cluster.runs.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._logs.pop(key, None)
            return None
        status = PipelineRunStatus.model_validate(body.get("status") or {}, extra="ignore")
        if status.completion_time is not None:
            self._logs.pop(key, None)
            await self._acknowledge(body, status)
            return None
        try:
            spec = PipelineRunSpec.model_validate(body["spec"])
        except ValidationError as error:
            if status.start_time is not None:
                raise  # CRDs newer than this operator: the run goes on when the operator is upgraded
            await self._refuse(body, status, first_problem(error))
            return None
        choice = choose_stack(self._cluster, key[0], spec, status)
        if status.start_time is None:
            return await self._start(body, spec, status, choice)
        return await self._advance(body, spec, status, choice)

    async def _start(
        self, body: JsonObject, spec: PipelineRunSpec, status: PipelineRunStatus, choice: Choice
    ) -> float | None:
        """Accept the run, refuse it, or wait for its stack."""
        stack = choice.stack
        if stack is None:
            return await self._wait(body, spec, status, STACK_NOT_READY, choice.message)
        if self._cluster.jobs.indexed(body["metadata"]["namespace"], naming.shortened(body["metadata"]["name"])):
            return await self._advance(body, spec, status, choice)  # it was accepted, and the record of that is lost
        if stack.built_in:
            verdict = await stack.artifact_store.check(self._cluster.kubernetes)
            if not verdict.ready:
                message = f"The built-in stack is not ready: {verdict.message}"
                return await self._wait(body, spec, status, STACK_NOT_READY, message)
        try:
            problem = await self._problem_of(body, spec, stack)
        except CAN_BE_TRIED_AGAIN as error:
            refusal = _refusal(error, "The API server does not admit the run's pods")
            return await self._wait(body, spec, status, refusal.reason, refusal.message)
        if problem is not None:
            await self._refuse(body, status, problem)
            return None
        return await self._advance(body, spec, status, choice)

    async def _wait(
        self, body: JsonObject, spec: PipelineRunSpec, status: PipelineRunStatus, reason: str, message: str
    ) -> float:
        outcome = Outcome("Unknown", reason, message[:4096])
        await self._write(body, status, waiting(status, spec, outcome, _generation(body), _now()), outcome)
        return RETRY_REFUSED_SECONDS

    async def _advance(
        self, body: JsonObject, spec: PipelineRunSpec, status: PipelineRunStatus, choice: Choice
    ) -> float | None:
        choice = _still_fitting(choice, spec, status)
        stack = choice.stack
        scheduler = _scheduler(spec, stack, body) if stack else None
        observed = await self._observe(body, spec, status)
        planned = plan(spec, observed, scheduler, choice.message)
        if planned.launches and stack is not None:
            refusals = await self._launch(body, spec, planned, stack)
            observed = with_changes(await self._observe(body, spec, status), refusals=refusals)
            planned = plan(spec, observed, scheduler, choice.message)
        await self._write(body, status, record(status, planned, stack, _generation(body), _now()), planned.outcome)
        undecided = any(attempt.wants_log_of for attempt in observed.attempts.values())
        return RETRY_REFUSED_SECONDS if observed.refusals or undecided or stack is None else None

    async def _acknowledge(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Record that a change after the end (of `suspend`) was seen: it changes nothing."""
        if status.observed_generation != _generation(body):
            seen = status.model_copy(update={"observed_generation": _generation(body)})
            await self._cluster.write_status(PIPELINE_RUNS, self._cluster.runs, body, seen.to_json())

    async def _problem_of(self, body: JsonObject, spec: PipelineRunSpec, stack: UsableStack) -> str | None:
        """Return what is wrong with the run as a whole, or None."""
        problems = problems_of(spec, stack)
        for problem in problems:
            return f"{problem} ({_and_more(len(problems) - 1)})" if len(problems) > 1 else str(problem)
        return await self._admission.problem_of(_context(body, spec, stack, (), self._transfer), spec.steps)

    async def _observe(self, body: JsonObject, spec: PipelineRunSpec, status: PipelineRunStatus) -> Observed:
        latest: dict[str, AttemptObservation] = {}
        for attempt in await self._attempts(body, spec, {step.name for step in status.steps if step.state in ENDED}):
            if attempt.step not in latest or latest[attempt.step].number <= attempt.number:
                latest[attempt.step] = attempt
        return Observed(recorded={step.name: step for step in status.steps}, attempts=latest)

    async def _attempts(self, body: JsonObject, spec: PipelineRunSpec, ended: set[str]) -> list[AttemptObservation]:
        """Return what the run's Jobs and pods show of steps that have not ended, reading the few logs that this needs."""
        namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
        label = naming.shortened(body["metadata"]["name"])
        steps = {step.name: step for step in spec.steps}
        pods = _newest_by_job(self._cluster.pods.indexed(namespace, label))
        found: list[AttemptObservation] = []
        for job in self._cluster.jobs.indexed(namespace, label):
            attempts = naming.attempts_of(job["metadata"].get("annotations") or {})
            if not _owned_by(job, uid) or all(step in ended for step, _ in attempts):
                continue
            pod = pods.get(job["metadata"]["uid"]) or await self._unseen_pod(job)
            seen = list(observe_job(job, pod, steps, self._logs_of(body, pod)))
            while pod is not None and (wanted := [attempt.wants_log_of for attempt in seen if attempt.wants_log_of]):
                if not all([await self._read_log(body, pod, container) for container in wanted]):
                    break  # these attempts stay undecided until the logs can be read
                seen = list(observe_job(job, pod, steps, self._logs_of(body, pod)))
            found.extend(seen)
        return found

    async def _unseen_pod(self, job: JsonObject) -> JsonObject | None:
        """Return the pod of a Job that has ended before its pod was seen: Jobs and pods are watched apart, in no order."""
        ended = {item["type"] for item in job.get("status", {}).get("conditions", ()) if item["status"] == "True"}
        if not ended & {"Complete", "Failed"}:
            return None
        metadata = job["metadata"]
        selector = f"batch.kubernetes.io/controller-uid={metadata['uid']}"
        pods, _ = await self._cluster.kubernetes.list(PODS, metadata["namespace"], selector=selector)
        return max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)

    def _logs_of(self, body: JsonObject, pod: JsonObject | None) -> Mapping[str, str]:
        uid = pod["metadata"]["uid"] if pod else ""
        logs = self._logs.get(key_of(body), {})
        return {container: text for (pod_uid, container), text in logs.items() if pod_uid == uid}

    async def _read_log(self, body: JsonObject, pod: JsonObject, container: str) -> bool:
        """Read the end of a container's log; return whether that is settled, also because the log is gone."""
        metadata = pod["metadata"]
        lines = 1 if container.startswith("cairn-") else LOG_TAIL_LINES
        try:
            text = await self._cluster.kubernetes.pod_log(
                metadata["namespace"], metadata["name"], container, lines=lines, limit=LOG_TAIL_BYTES
            )
        except (NotFoundError, InvalidError):
            text = ""
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("The log of %s in pod %s could not be read: %s", container, metadata["name"], error)
            return False
        self._logs.setdefault(key_of(body), {})[metadata["uid"], container] = text
        return True

    async def _launch(
        self, body: JsonObject, spec: PipelineRunSpec, planned: Plan, stack: UsableStack
    ) -> Mapping[str, Refusal]:
        """Create the Jobs; return the steps whose Job the API server refused."""
        status = [step for step in planned.steps if step.state == "Succeeded"]
        context = _context(body, spec, stack, status, self._transfer)
        steps = {step.name: step for step in spec.steps}
        refusals: dict[str, Refusal] = {}

        async def create(launch: Launch) -> None:
            attempts = [Attempt(steps[name], number) for name, number in launch.attempts]
            async with self._creating:
                refusal = await self._create(body, build_job(context, attempts))
            if refusal is not None:
                refusals[launch.attempts[0][0]] = refusal

        await asyncio.gather(*(create(launch) for launch in planned.launches))
        return refusals

    async def _create(self, body: JsonObject, job: JsonObject) -> Refusal | None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        try:
            try:
                created = await self._cluster.kubernetes.create(JOBS, namespace, job)
            except AlreadyExistsError:
                created = await self._cluster.kubernetes.get(JOBS, namespace, name)
                if not _owned_by(created, body["metadata"]["uid"]):
                    return Refusal("NameTaken", f"There is a Job {name} that is not this run's; delete it.")
        except CAN_BE_TRIED_AGAIN as error:
            return _refusal(error, f"The API server did not create Job {name}")
        self._cluster.jobs.put(created)
        return None

    async def _refuse(self, body: JsonObject, status: PipelineRunStatus, message: str) -> None:
        outcome = Outcome("False", "InvalidSpec", message[:4096])
        await self._write(body, status, refused(status, outcome, _generation(body), _now()), outcome)

    async def _write(self, body: JsonObject, old: PipelineRunStatus, new: PipelineRunStatus, outcome: Outcome) -> None:
        """Write the status, then tell what has changed: Events and metrics once, since a written end never changes."""
        written = await self._cluster.write_status(PIPELINE_RUNS, self._cluster.runs, body, new.to_json())
        if written is None:
            return
        before = {step.name: step.state for step in old.steps}
        for step in new.steps:
            if step.state in {"Succeeded", "Failed", "Skipped"} and before.get(step.name) != step.state:
                metrics.STEPS_FINISHED.labels(state=step.state).inc()
                if step.start_time and step.completion_time:
                    metrics.STEP_SECONDS.observe(seconds_between(step.start_time, step.completion_time))
        if new.completion_time is not None:
            metrics.RUNS_FINISHED.labels(reason=outcome.reason).inc()
            metrics.RUN_SECONDS.observe(new.duration_seconds or 0)
        was = next((item for item in old.conditions if item.type == "Succeeded"), None)
        if was is None or was.reason != outcome.reason:
            kind = "Warning" if outcome.status == "False" else "Normal"
            await self._cluster.events.record(body, kind, outcome.reason, "Run", outcome.message)


def _refusal(error: BaseException, what: str) -> Refusal:
    """Return what is said of a request that the API server refused, or did not answer."""
    if isinstance(error, ApiError):
        reason = error.reason if error.reason.isalnum() else "ApiError"
        return Refusal(reason, f"{what}: {error.message}; it is tried again."[:1024])
    return Refusal("ApiServerUnreachable", f"{what}: {type(error).__name__}; it is tried again.")


def _and_more(problems: int) -> str:
    return "and 1 more problem" if problems == 1 else f"and {problems} more problems"


def identity(body: JsonObject) -> naming.RunIdentity:
    """Return which run an object is."""
    metadata = body["metadata"]
    return naming.RunIdentity(metadata["namespace"], metadata["name"], metadata["uid"], body["spec"]["pipeline"])


def _still_fitting(choice: Choice, spec: PipelineRunSpec, status: PipelineRunStatus) -> Choice:
    """Return the choice, or none where the stack has changed since the run's start and the run cannot use it any more."""
    if choice.stack is None or status.stack is None or status.stack.digest == choice.stack.digest:
        return choice
    for problem in problems_of(spec, choice.stack):
        return Choice(choice.name, None, f"Stack {choice.name} has changed and does not fit the run: {problem}")
    return choice


def _scheduler(spec: PipelineRunSpec, stack: UsableStack, body: JsonObject) -> Scheduler:
    """Return what decides which steps start together on that stack."""
    limit = stack.orchestrator.max_parallel_steps
    if limit is not None:
        return OneJobPerStep(limit)
    context = _context(body, spec, stack, (), TransferImage(""))
    return OnePodForAll({step.name: pod_settings(step_template(context, step)) for step in spec.steps})


def _context(
    body: JsonObject,
    spec: PipelineRunSpec,
    stack: UsableStack,
    succeeded: Iterable[StepStatus],
    transfer: TransferImage,
) -> PodContext:
    run = identity(body)
    steps = list(succeeded)
    results = {(step.name, result.name): result.value for step in steps for result in step.results or ()}
    parameters = spec.parameters or ()
    return PodContext(
        run=run,
        stack=stack,
        run_template=spec.pod_template,
        parameters=parameters,
        values=Values({item.name: item.value for item in parameters}, run.name, run.uid, results),
        artifacts={(step.name, kept.name): kept for step in steps for kept in step.artifacts or ()},
        transfer=transfer,
        work_size=stack.orchestrator.workspace_size,
    )


def _newest_by_job(pods: Iterable[JsonObject]) -> Mapping[str, JsonObject]:
    """Return the newest pod of each Job, by the Job's UID: a deleted run of the same name may have left some."""
    newest: dict[str, JsonObject] = {}
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
        owner = next((item for item in pod["metadata"].get("ownerReferences", ()) if item["kind"] == "Job"), None)
        if owner is not None:
            newest[owner["uid"]] = pod
    return newest


def _owned_by(job: JsonObject, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in job["metadata"].get("ownerReferences", ()))


def _generation(body: JsonObject) -> int:
    return int(body["metadata"]["generation"])


def _now() -> str:
    return timestamp(datetime.now(UTC))
