"""Carries runs out: observe, plan, act, record. Holds only what can be found out again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace as with_changes

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.time import timestamp
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN
from cairn.clients.registry import Registries
from cairn.clients.store import Key, key_of
from cairn.clients.tracing import SendTrace
from cairn.clients.wake import Wake
from cairn.components.base import StoreClient
from cairn.components.connections import Connections
from cairn.components.neighbours import Neighbours
from cairn.components.records import TrackerClient
from cairn.runs.acceptance import problem_of_spec
from cairn.runs.cel_evaluator import Evaluator
from cairn.runs.earlier_runs import EarlierRuns
from cairn.runs.executions import Executions
from cairn.runs.finished import FinishedRuns
from cairn.runs.follow_up import is_followed_up
from cairn.runs.graph import StepGraph
from cairn.runs.hold import RETRY_REFUSED_SECONDS, Hold
from cairn.runs.image_digests import ImageDigests
from cairn.runs.instances import RunSteps
from cairn.runs.items import InstanceMaker
from cairn.runs.keeper import END_WAITS_SECONDS, MOMENT_SECONDS, Keeper
from cairn.runs.logs import with_logs
from cairn.runs.outcome import (
    EARLIER_RUN_NOT_READY,
    KEEPING,
    PIPELINE_NOT_READY,
    PODS_NOT_ADMITTED,
    STACK_NOT_READY,
    Outcome,
)
from cairn.runs.pauses import Pauses
from cairn.runs.planner import Observed, Plan, plan
from cairn.runs.pod import TransferImage
from cairn.runs.pod_context import identity, pod_context_of
from cairn.runs.problem import Problem
from cairn.runs.recorder import RunRecorder
from cairn.runs.registering import RunRegistration
from cairn.runs.revisions import InvalidSpecError, PipelineNotReadyError, RunSpecs
from cairn.runs.scheduling import Scheduler
from cairn.runs.stack_choice import Choice, choose_stack, still_fitting
from cairn.runs.status import ended_before_start, pending, record, waiting
from cairn.runs.step_cache import StepCache
from cairn.runs.step_plan import Refusal
from cairn.runs.stopping import CANCELLED
from cairn.runs.traces import RunTraces
from cairn.runs.tracking import RunTracking
from cairn.runs.when_answers import WhenAnswers
from cairn.runs.workloads import refusal_of
from cairn.stacks.resolution import UsableStack
from cairn.stacks.usability import Usability

logger = logging.getLogger(__name__)

RETRY_FOLLOW_UP_SECONDS = 60.0
"""When to look again whether there is a tracker for a run that has ended, and is not recorded, or has models to register."""


CANCELLED_BEFORE_START = Outcome("False", CANCELLED, "The run was cancelled before it started.")


class RunReconciler:
    """Reconciles one PipelineRun at a time."""

    def __init__(
        self,
        cluster: Cluster,
        transfer: TransferImage,
        wake: Wake,
        evaluator: Evaluator,
        *,
        clock: Clock | None = None,
        stores: Connections[StoreClient] | None = None,
        trackers: Connections[TrackerClient] | None = None,
        registries: Registries | None = None,
        usability: Usability | None = None,
        send_trace: SendTrace | None = None,
    ) -> None:
        """Make a reconciler; `wake` is for what is done of a run beside its reconciles."""
        self._cluster = cluster
        self._transfer = transfer
        self._clock = clock or Clock()
        self._usability = usability or Usability(cluster.kubernetes, self._clock)
        self._recorder = RunRecorder(cluster)
        self._finished = FinishedRuns(cluster, self._clock)
        self._traces = RunTraces(send_trace, self._clock)
        self._specs = RunSpecs(cluster)
        self._earlier_runs = EarlierRuns(cluster, self._specs)
        self._stores = stores or Connections[StoreClient](cluster)
        self._executions = Executions(cluster, self._stores, self._clock, wake)
        pauses = Pauses(self._clock)
        digests = ImageDigests(cluster, registries or Registries(), self._clock)
        self._cache = StepCache(self._stores, digests, self._clock, pauses, wake)
        self._whens = WhenAnswers(evaluator, wake)
        self._tracking = RunTracking(cluster, self._clock, wake, trackers)
        self._registration = RunRegistration(self._clock, wake, self._tracking, evaluator, self._stores)
        self._keeper = Keeper(cluster, self._stores, self._clock, pauses, wake)
        self._makers: dict[Key, tuple[tuple[str, int], InstanceMaker]] = {}
        """Of each run that is active, its steps, and of which generation they are."""
        self._held: dict[Key, Hold] = {}
        """Runs of which the API server refused something, whatever wakes them."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one run a step further; return in how many seconds to look at it again."""
        body = self._cluster.runs.get(key)
        if body is None or is_being_deleted(body):
            self._forget(key)
            self._specs.forget(key)
            self._tracking.run_is_gone(key)
            self._traces.forget(key)
            self._registration.run_is_gone(key)
            return await self._executions.release(key, body)
        status = _status(body)
        if status.completion_time is not None:
            return await self._look_after(body, status)
        await self._executions.release_of_others(body)
        try:
            return await self._go_on(body, status)
        except PipelineNotReadyError as error:
            if status.start_time is None and body["spec"].get("cancel") is not None:
                await self._end_before_start(body, status, (), CANCELLED_BEFORE_START)
                return None
            return await self._wait(body, None, status, PIPELINE_NOT_READY, str(error))

    def stop(self) -> None:
        """Stop what is done beside the reconciles. Nothing is lost: all state is in the cluster."""
        self._keeper.stop()
        self._executions.shut_down()
        self._cache.stop()
        self._whens.stop()
        self._registration.stop()
        self._tracking.stop()

    async def close(self) -> None:
        """Close the connections to stores and trackers."""
        await self._tracking.close()
        await self._executions.close()
        await self._stores.close()

    async def _look_after(self, body: JsonObject, status: PipelineRunStatus) -> float | None:
        """Do what is left to do of a run that has ended; return in how many seconds to look at it again."""
        self._forget(key_of(body))
        self._traces.ended(body, status)
        await self._recorder.acknowledge(body, status)
        ends = await self._executions.of(status).end(body, status)
        again = await self._follow_up(body, status) if is_followed_up(body) else None
        if again is None:
            self._specs.forget(key_of(body))
        return _earliest(ends, again, await self._finished.look_after(body))

    async def _go_on(self, body: JsonObject, status: PipelineRunStatus) -> float | None:
        """Start a run, or go on with it."""
        if status.start_time is None and "pipelineRef" in body["spec"]:
            self._makers.pop(key_of(body), None)  # its Pipeline may have changed since it was looked at last
            self._tracking.let_go(key_of(body))
        try:
            spec = await self._specs.of(body, status)
        except InvalidSpecError as error:
            if status.start_time is not None:
                raise  # CRDs newer than this operator: the run goes on when the operator is upgraded
            await self._end_before_start(body, status, (), Outcome("False", "InvalidSpec", str(error)))
            return None
        if status.start_time is None and spec.cancel is not None:
            await self._end_before_start(body, status, pending(spec), CANCELLED_BEFORE_START)
            return None
        choice = choose_stack(self._cluster, body["metadata"]["namespace"], spec, status)
        if status.start_time is None:
            return await self._start(body, spec, status, choice)
        return await self._advance(body, spec, status, choice)

    async def _start(self, body: JsonObject, spec: RunSpec, status: PipelineRunStatus, choice: Choice) -> float | None:
        """Accept the run, refuse it, or wait for its stack."""
        stack = choice.stack
        if stack is None:
            return await self._wait(body, spec, status, STACK_NOT_READY, choice.message)
        if stack.built_in:
            neighbours = Neighbours(self._cluster, body["metadata"]["namespace"])
            verdict = await stack.artifact_store.check(self._cluster.kubernetes, neighbours)
            if not verdict.ready:
                message = f"The built-in stack is not ready: {verdict.message}"
                return await self._wait(body, spec, status, STACK_NOT_READY, message)
        unusable = await self._usability.problem_with(stack)
        if unusable is not None:
            return await self._wait(
                body, spec, status, STACK_NOT_READY, f"Stack {stack.name} cannot be used: {unusable}"
            )
        problem = problem_of_spec(body, spec, stack)
        missing = self._earlier_runs.missing(body, spec) if problem is None else None
        if missing is not None:
            return await self._wait(body, spec, status, EARLIER_RUN_NOT_READY, missing)
        hold = self._hold_of(key_of(body))
        if hold is not None:
            return hold.seconds_left
        if problem is None:
            self._tracking.prepare(body, spec, stack.experiment_tracker)
        try:
            problem = problem or await self._objection(body, spec, stack)
        except CAN_BE_TRIED_AGAIN as error:
            refusal = refusal_of(error, "The API server does not admit the run's pods")
            self._held[key_of(body)] = Hold(self._clock)
            return await self._wait(body, spec, status, PODS_NOT_ADMITTED, refusal.message)
        taken = {} if problem is not None else await self._earlier_runs.taken_over(body, spec, self._maker(body, spec))
        if problem is not None or isinstance(taken, Problem):
            outcome = Outcome("False", "InvalidSpec", problem or str(taken))
            await self._end_before_start(body, status, (), outcome, stack=stack)
            return None
        steps = (taken.get(step.name) or step for step in pending(spec))
        written = self._maker(body, spec).graph.steps
        more = (step for name, step in taken.items() if name not in written)
        revision = await self._specs.keep(body)
        of_pipeline = spec.experiment if "experiment" not in body["spec"] else None
        begun = {
            "start_time": self._now(),
            "steps": (*steps, *more),
            "experiment": of_pipeline,
            "pipeline_revision": revision,
        }
        started = status.model_copy(update=begun)
        held = await self._executions.of(status, stack).hold(body)
        return await self._advance(held, spec, started, choice) if held is not None else None

    async def _wait(
        self, body: JsonObject, spec: RunSpec | None, status: PipelineRunStatus, reason: str, message: str
    ) -> float:
        outcome = Outcome("Unknown", reason, message[:4096])
        told = waiting(status, spec, outcome, _generation(body), self._now())
        await self._recorder.write(body, status, told, outcome)
        return RETRY_REFUSED_SECONDS

    async def _advance(
        self, body: JsonObject, spec: RunSpec, status: PipelineRunStatus, choice: Choice
    ) -> float | None:
        choice = still_fitting(choice, spec, status)
        stack = choice.stack
        maker, execution = self._maker(body, spec), self._executions.of(status, stack)
        hold = self._hold_of(key_of(body))
        refusals = hold.refusals if hold is not None else {}
        observed, steps, planned = await self._observe_and_plan(body, status, maker, refusals, choice)
        store = stack.artifact_store if stack is not None else None
        kept = self._keeper.keep(body, identity(body), planned.steps, observed.recorded, store)
        planned = with_changes(planned, steps=with_logs(planned.steps, kept))
        end_has_waited = self._end_has_waited(body, planned)
        awaits_record = planned.outcome.finished and self._keeper.awaits_record(body)
        if end_has_waited is not None and end_has_waited < MOMENT_SECONDS and not planned.stops and not awaits_record:
            return MOMENT_SECONDS - end_has_waited
        if end_has_waited is not None or awaits_record:
            planned = with_changes(planned, outcome=KEEPING)
        context = None
        if planned.launches and stack is not None:
            context = pod_context_of(body, steps, planned.steps, stack, self._transfer)
            launched = [steps.by_name[name] for launch in planned.launches for name, _ in launch.attempts]
            checked = self._cache.without_changed_keys(body, context, launched, planned.steps)
            planned = with_changes(planned, steps=checked)
        written = await self._record(body, status, steps, planned, stack)
        if written is None:
            return None
        if planned.outcome.finished:
            await self._keeper.tell_of_lost(body)
        if context is not None:
            attempts = [attempt for launch in planned.launches for attempt in launch.attempts]
            shared = execution.shares_environment
            tracking = await self._tracking.access_of(
                body, attempts, for_all_attempts_of=_retried(steps) if shared else ()
            )
            context = with_changes(context, tracking=tracking)
            refusals = await execution.launch(context, steps, planned.launches)
            if refusals:
                refusals = {**observed.refusals, **refusals}
                self._held[key_of(body)] = Hold(self._clock, refusals)
                newer = PipelineRunStatus.model_validate(written["status"])
                observed, steps, planned = await self._observe_and_plan(written, newer, maker, refusals, choice)
                await self._record(written, newer, steps, planned, stack)
        await execution.stop(body, planned)
        await execution.release_settled(body, steps, planned.steps)
        undecided = any(attempt.wants_log_of or attempt.wants_pod for attempt in observed.attempts)
        waits = observed.refusals or undecided or stack is None
        again = _earliest(self._keeper.seconds_until_again(body), self._registration.seconds_until_due(body))
        if end_has_waited is not None:
            again = min(END_WAITS_SECONDS - end_has_waited, END_WAITS_SECONDS if again is None else again)
        return self._seconds_until_due(planned, _earliest(RETRY_REFUSED_SECONDS if waits else None, again))

    async def _follow_up(self, body: JsonObject, status: PipelineRunStatus) -> float | None:
        """Have the end of a run recorded, and its models registered; return in how many seconds to look at it again."""
        try:
            spec = await self._specs.of(body, status)
        except PipelineNotReadyError as error:
            logger.warning("What is left to be recorded of the run cannot be: %s", error)
            return RETRY_FOLLOW_UP_SECONDS
        stack = choose_stack(self._cluster, body["metadata"]["namespace"], spec, status).stack
        steps = InstanceMaker(StepGraph(spec)).steps({step.name: step for step in status.steps})
        told = self._follow(body, spec, steps, status, stack)
        written = await self._recorder.tell(body, told)
        if written is None:
            return None
        if is_followed_up(written):
            return _earliest(RETRY_FOLLOW_UP_SECONDS, self._registration.seconds_until_due(body))
        self._tracking.let_go(key_of(body))
        self._registration.let_go(key_of(body))
        return None

    def _follow(
        self,
        body: JsonObject,
        spec: RunSpec,
        steps: RunSteps,
        status: PipelineRunStatus,
        stack: UsableStack | None,
    ) -> PipelineRunStatus:
        """Have recorded and registered what a status says of a run; return it with what became of that."""
        self._tracking.follow(body, steps, status, stack.experiment_tracker if stack is not None else None)
        self._registration.follow(body, spec, steps, status, stack)
        tracked = self._tracking.with_tracking(status, body, self._now())
        return self._registration.with_registrations(tracked, body, self._now())

    def _end_has_waited(self, body: JsonObject, planned: Plan) -> float | None:
        """Return for how many seconds the end of a run has waited for its logs; None where it does not, or no longer."""
        if not planned.outcome.finished:
            return None
        seconds = self._keeper.end_has_waited(body)
        longest = 0.0 if body["spec"].get("cancel") == "Immediate" else END_WAITS_SECONDS
        return seconds if seconds is not None and seconds < longest else None

    async def _observe_and_plan(
        self,
        body: JsonObject,
        status: PipelineRunStatus,
        maker: InstanceMaker,
        refusals: Mapping[str, Refusal],
        choice: Choice,
    ) -> tuple[Observed, RunSteps, Plan]:
        """Observe and plan, again where an attempt would be given up that only the watch has not told of yet."""
        steps = maker.steps({step.name: step for step in status.steps})
        execution = self._executions.of(status, choice.stack)
        asked = False
        while True:
            observed = with_changes(await execution.observe(body, steps, status, choice.stack), refusals=refusals)
            scheduler = execution.scheduler(body, steps, choice.stack) if choice.stack is not None else None
            planned_steps, planned = await self._plan(body, maker, steps, observed, choice=choice, scheduler=scheduler)
            if asked or not planned.unseen:
                return observed, planned_steps, planned
            await execution.look_for_unanswered(body)
            asked = True

    async def _plan(
        self,
        body: JsonObject,
        maker: InstanceMaker,
        steps: RunSteps,
        observed: Observed,
        *,
        choice: Choice,
        scheduler: Scheduler | None,
    ) -> tuple[RunSteps, Plan]:
        """Plan, again where that makes the items of a step known, or something is to be found out first."""
        stack = choice.stack
        if stack is not None and self._cache.has_hits(body):
            context = pod_context_of(body, steps, observed.recorded.values(), stack, self._transfer)
            self._cache.forget_old_hits(body, context, steps, observed.recorded)
        while True:
            known = {"cache": self._cache.answers(body), "answers": self._whens.known(key_of(body))}
            observed = with_changes(observed, **known)
            planned = plan(steps, observed, scheduler, self._clock.now(), choice.message)
            recorded = {step.name: step for step in planned.steps}
            if (more := maker.steps(recorded)) is not steps:
                steps, observed = more, with_changes(observed, recorded=recorded)
            elif planned.questions:
                if not await self._whens.find_out(key_of(body), planned.questions):
                    return steps, planned
            elif planned.lookups and stack is not None:
                context = pod_context_of(body, steps, planned.steps, stack, self._transfer)
                wanted = [steps.by_name[name] for name in sorted(planned.lookups)]
                if not await self._cache.look_up(body, context, wanted):
                    return steps, planned
            else:
                return steps, planned

    def _maker(self, body: JsonObject, spec: RunSpec) -> InstanceMaker:
        """Return what makes the steps of a run."""
        key, version = key_of(body), (body["metadata"]["uid"], _generation(body))
        known = self._makers.get(key)
        if known is None or known[0] != version:
            known = self._makers[key] = version, InstanceMaker(StepGraph(spec))
        return known[1]

    async def _record(
        self, body: JsonObject, status: PipelineRunStatus, steps: RunSteps, planned: Plan, stack: UsableStack | None
    ) -> JsonObject | None:
        """Write the plan's steps, before the rest of it is carried out; raises ConflictError if the run has changed."""
        new = record(status, planned, stack, _generation(body), self._now())
        new = self._follow(body, steps.spec, steps, new, stack)
        acts = bool(planned.launches or planned.stops)
        return await self._recorder.write(body, status, new, planned.outcome, confirm=acts)

    def _seconds_until_due(self, planned: Plan, at_most: float | None) -> float | None:
        """Return when to look at the run again though nothing has happened."""
        if planned.outcome.finished:
            return None
        if planned.look_again is None:
            return at_most
        seconds = self._clock.seconds_until(planned.look_again)
        return seconds if at_most is None else min(seconds, at_most)

    def _hold_of(self, key: Key) -> Hold | None:
        """Return the pause that a run is in, or None."""
        hold = self._held.get(key)
        if hold is not None and hold.seconds_left <= 0:
            del self._held[key]
            return None
        return hold

    def _forget(self, key: Key) -> None:
        self._cache.forget(key)
        self._whens.forget(key)
        self._keeper.forget(key)
        self._makers.pop(key, None)
        self._held.pop(key, None)

    async def _objection(self, body: JsonObject, spec: RunSpec, stack: UsableStack) -> str | None:
        """Return what the API server has against the run's pods, or None."""
        steps = self._maker(body, spec).stand_ins()
        return await self._executions.on(stack).problem_of(
            pod_context_of(body, steps, (), stack, self._transfer), steps
        )

    async def _end_before_start(
        self,
        body: JsonObject,
        status: PipelineRunStatus,
        steps: Iterable[StepStatus],
        outcome: Outcome,
        *,
        stack: UsableStack | None = None,
    ) -> None:
        ended = ended_before_start(status, steps, outcome, _generation(body), self._now(), stack=stack)
        await self._recorder.write(body, status, ended, outcome)

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _status(body: JsonObject) -> PipelineRunStatus:
    return PipelineRunStatus.model_validate(body.get("status") or {}, extra="ignore")


def _retried(steps: RunSteps) -> frozenset[str]:
    """Return the steps that may have several attempts."""
    return frozenset(name for name, step in steps.by_name.items() if step.retry is not None and step.retry.limit > 0)


def _earliest(*seconds: float | None) -> float | None:
    return min((item for item in seconds if item is not None), default=None)


def _generation(body: JsonObject) -> int:
    return int(body["metadata"]["generation"])
