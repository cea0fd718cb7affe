"""Carries runs out: observe, plan, act, record. Holds only what can be found out again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace as with_changes
from datetime import UTC, datetime

from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.time import seconds_between, timestamp
from cairn.clients import metrics
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import (
    JOBS,
    PIPELINE_RUNS,
    AlreadyExistsError,
    ApiError,
    InvalidError,
    TooLargeError,
)
from cairn.clients.store import Key, key_of
from cairn.runs import naming
from cairn.runs.admission import PodAdmission
from cairn.runs.attempts import CAN_BE_TRIED_AGAIN, AttemptReader, owned_by
from cairn.runs.job import build_job
from cairn.runs.observation import needed_of_job
from cairn.runs.planner import PENDING, Outcome, Plan, Refusal, plan
from cairn.runs.pod import Attempt, PodContext, TransferImage, pod_settings, step_template
from cairn.runs.references import Values
from cairn.runs.scheduling import Launch, OneJobPerStep, OnePodForAll, Scheduler
from cairn.runs.stack_choice import Choice, choose_stack
from cairn.runs.status import pending, record, refused, waiting, without_logs
from cairn.runs.validation import problems_of
from cairn.stacks.resolution import UsableStack

logger = logging.getLogger(__name__)

RETRY_REFUSED_SECONDS = 10.0
CREATIONS_AT_ONCE = 32
PROBLEMS_TOLD = 10
STACK_NOT_READY = "StackNotReady"
PODS_NOT_ADMITTED = "PodsNotAdmitted"


class _Hold:
    """A pause after the API server refused something.

    What it says may differ each time; told in the status, it would wake the run, which would ask again, without end.
    """

    def __init__(self, refusals: Mapping[str, Refusal] | None = None) -> None:
        self.refusals = refusals or {}
        self._until = time.monotonic() + RETRY_REFUSED_SECONDS

    @property
    def seconds_left(self) -> float:
        """How much longer nothing is asked for."""
        return self._until - time.monotonic()


class RunReconciler:
    """Reconciles one PipelineRun at a time."""

    def __init__(self, cluster: Cluster, transfer: TransferImage) -> None:
        self._cluster = cluster
        self._transfer = transfer
        self._admission = PodAdmission(cluster.kubernetes)
        self._attempts = AttemptReader(cluster, self._admission)
        self._creating = asyncio.Semaphore(CREATIONS_AT_ONCE)
        self._held: dict[Key, _Hold] = {}
        """Runs of which the API server refused something, whatever wakes them."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one run a step further; return in how many seconds to look at it again."""
        body = self._cluster.runs.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return None
        status = PipelineRunStatus.model_validate(body.get("status") or {}, extra="ignore")
        if status.completion_time is not None:
            self._forget(key)
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
        if stack.built_in:
            verdict = await stack.artifact_store.check(self._cluster.kubernetes)
            if not verdict.ready:
                message = f"The built-in stack is not ready: {verdict.message}"
                return await self._wait(body, spec, status, STACK_NOT_READY, message)
        hold = self._hold_of(key_of(body))
        if hold is not None:
            return hold.seconds_left
        try:
            problem = await self._problem_of(body, spec, stack)
        except CAN_BE_TRIED_AGAIN as error:
            refusal = _refusal(error, "The API server does not admit the run's pods")
            self._held[key_of(body)] = _Hold()
            return await self._wait(body, spec, status, PODS_NOT_ADMITTED, refusal.message)
        if problem is not None:
            await self._refuse(body, status, problem)
            return None
        return await self._accept(body, spec, status, Choice(choice.name, stack))

    async def _accept(
        self, body: JsonObject, spec: PipelineRunSpec, status: PipelineRunStatus, choice: Choice
    ) -> float | None:
        """Record that the run has started, and on which stack, before anything else comes of it."""
        outcome = Outcome("Unknown", "Running", f"The run starts on Stack {choice.name}.")
        started = record(status, Plan((), pending(spec), outcome), choice.stack, _generation(body), _now())
        written = await self._write(body, status, started, outcome)
        return await self._advance(written, spec, started, choice) if written is not None else None

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
        observed = await self._attempts.observe(body, spec, status)
        hold = self._hold_of(key_of(body))
        if hold is not None:
            observed = with_changes(observed, refusals=hold.refusals)
        planned = plan(spec, observed, scheduler, choice.message)
        if planned.launches and stack is not None and hold is None:
            refusals = await self._launch(body, spec, planned, stack)
            if refusals:
                self._held[key_of(body)] = _Hold(refusals)
            observed = with_changes(await self._attempts.observe(body, spec, status), refusals=refusals)
            planned = plan(spec, observed, scheduler, choice.message)
        await self._write(body, status, record(status, planned, stack, _generation(body), _now()), planned.outcome)
        undecided = any(attempt.wants_log_of or attempt.wants_pod for attempt in observed.attempts.values())
        return RETRY_REFUSED_SECONDS if observed.refusals or undecided or stack is None else None

    def _hold_of(self, key: Key) -> _Hold | None:
        """Return the pause that a run is in, or None."""
        hold = self._held.get(key)
        if hold is not None and hold.seconds_left <= 0:
            del self._held[key]
            return None
        return hold

    def _forget(self, key: Key) -> None:
        self._attempts.forget(key)
        self._held.pop(key, None)

    async def _acknowledge(self, body: JsonObject, status: PipelineRunStatus) -> None:
        """Record that a change after the end (of `suspend`) was seen: it changes nothing."""
        if status.observed_generation != _generation(body):
            seen = status.model_copy(update={"observed_generation": _generation(body)})
            await self._cluster.write_status(PIPELINE_RUNS, self._cluster.runs, body, seen.to_json())

    async def _problem_of(self, body: JsonObject, spec: PipelineRunSpec, stack: UsableStack) -> str | None:
        """Return what is wrong with the run as a whole, or None."""
        problems = problems_of(spec, stack)
        if problems:
            told = "; ".join(str(problem) for problem in problems[:PROBLEMS_TOLD])
            others = len(problems) - PROBLEMS_TOLD
            return f"{told} ({_and_more(others)})" if others > 0 else told
        return await self._admission.problem_of(_context(body, spec, stack, (), self._transfer), spec.steps)

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
                if not owned_by(created, body["metadata"]["uid"]):
                    return Refusal("NameTaken", f"There is a Job {name} that is not this run's; delete it.")
        except InvalidError as error:
            return Refusal("InvalidSpec", f"The API server refuses Job {name}: {error.message}"[:1024], final=True)
        except CAN_BE_TRIED_AGAIN as error:
            return _refusal(error, f"The API server did not create Job {name}")
        self._cluster.jobs.put(needed_of_job(created))
        return None

    async def _refuse(self, body: JsonObject, status: PipelineRunStatus, message: str) -> None:
        outcome = Outcome("False", "InvalidSpec", message[:4096])
        await self._write(body, status, refused(status, outcome, _generation(body), _now()), outcome)

    async def _write(
        self, body: JsonObject, old: PipelineRunStatus, new: PipelineRunStatus, outcome: Outcome
    ) -> JsonObject | None:
        """Write the status, then tell what has changed, once: a written end never changes. Return the run as it is then."""
        try:
            written = await self._cluster.write_status(PIPELINE_RUNS, self._cluster.runs, body, new.to_json())
        except TooLargeError:
            small = without_logs(new)
            written = await self._cluster.write_status(PIPELINE_RUNS, self._cluster.runs, body, small.to_json())
        if written is None:
            return None
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
            kind = (
                "Warning" if outcome.status == "False" or outcome.reason in {PENDING, PODS_NOT_ADMITTED} else "Normal"
            )
            await self._cluster.events.record(body, kind, outcome.reason, "Run", outcome.message)
        return written


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
    problems = problems_of(spec, choice.stack)
    if problems:
        return Choice(choice.name, None, f"Stack {choice.name} has changed and does not fit the run: {problems[0]}")
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


def _generation(body: JsonObject) -> int:
    return int(body["metadata"]["generation"])


def _now() -> str:
    return timestamp(datetime.now(UTC))
