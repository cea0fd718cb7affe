"""What must hold after every transition, whatever has happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.step import Retry, Step
from cairn.runs.cache_record import CacheRecord
from cairn.runs.gathering import state_of
from cairn.runs.graph import StepGraph
from cairn.runs.items import InstanceMaker
from cairn.runs.naming import RunIdentity, attempts_of, log_key
from cairn.runs.readiness import NO_ITEMS
from cairn.runs.states import ACTIVE, ENDED, NOT_SUCCEEDED, SKIPPED_ON_PURPOSE, lets_pass
from tests.simulation.nodes import SIGTERM_CODE, Attempt, Truth
from tests.simulation.stores import ran_before


class Violation(AssertionError):  # noqa: N818 - it is not an error of the simulation
    """An invariant does not hold."""


def holds(condition: object, sentence: str) -> None:
    """Raise unless the condition is true."""
    if not condition:
        raise Violation(sentence)


class Invariants:
    """Checks each write of the status against the one before, and against what really happened."""

    def __init__(self, run: RunIdentity, spec: RunSpec, limit: int, truth: Truth, kept: Mapping[str, bytes]) -> None:
        self._run = run
        self._maker = InstanceMaker(StepGraph(spec))
        self._run_steps = self._maker.steps({})
        self._spec = spec
        self._limit = limit
        self._truth = truth
        self._kept = kept
        self._last = PipelineRunStatus()
        self._seen_running: set[Attempt] = set()
        self._made: dict[str, bool] = {}
        """By the names of Jobs and pods that were made: whether somebody deleted them."""

    @property
    def status(self) -> PipelineRunStatus:
        """The status as it was written last."""
        return self._last

    def written(self, run: JsonObject) -> None:
        """Check a write of the run's status."""
        new, old = PipelineRunStatus.model_validate(run["status"]), self._last
        if old.completion_time is not None:
            holds(_without_generation(new) == _without_generation(old), "a finished run has changed")
        before = {step.name: step for step in old.steps}
        self._run_steps = self._maker.steps({step.name: step for step in new.steps})
        for step in new.steps:
            self._step(before.get(step.name) or StepStatus(name=step.name, state="Pending"), step, new, run)
        self._finished(new, run)
        self._last = new

    def workload_made(self, workload: JsonObject) -> None:
        """Check the making of a Job, or of a pod without one."""
        name = workload["metadata"]["name"]
        states = {step.name: step for step in self._last.steps}
        attempts = attempts_of(workload["metadata"]["annotations"])
        first, number = attempts[0]
        state = states[first]
        holds(state.attempts == number, f"{name} is made, but attempt {number} of {first} is not what is recorded")
        holds(self._made.get(name, True), f"{name} is made twice")
        holds(state.state not in ENDED, f"{name} is made after {first} has ended")
        for dependency in self._run_steps.needs(first):
            holds(self._lets_pass(dependency, states), f"{name} is made before {dependency} has succeeded")
        self._made[name] = False

    def deleted_by_somebody(self, name: str) -> None:
        """Remember that another one of that name may be made, if that it was there was not recorded yet."""
        self._made[name] = not any(name in {step.job_name, step.pod_name} for step in self._last.steps)

    def ended(self, live: int) -> None:
        """Check what is left when nothing moves any more."""
        holds(self._last.completion_time is not None, "the run has not ended")
        holds(live == 0, "Jobs or pods are left that have not ended, or cannot go")
        states = {step.name: step for step in self._last.steps}
        for key, content in self._kept.items():
            if "/.cache/" in key:
                made_of = CacheRecord.model_validate_json(content).from_
                holds(
                    states[made_of.step].state == "Succeeded", f"{made_of.step} has not succeeded and is in the cache"
                )

    def _step(self, old: StepStatus, new: StepStatus, status: PipelineRunStatus, run: JsonObject) -> None:
        step, name = self._step_of(new.name), new.name
        if old.state in ENDED:
            holds(_without_logs(new) == _without_logs(old), f"{name} has ended and changed after that")
        kept = dict(_logs_of(new))
        for number, uri in kept.items():
            key = log_key(self._run, name, number)
            holds(uri.endswith(f"/{key}") and key in self._kept, f"the log of {name} ({number}) is not at {uri}")
        holds(set(_logs_of(old)) <= kept.items(), f"a log of {name} is not told any more")
        policy = step.retry or Retry()
        holds(new.retries_used <= policy.limit, f"{name} is retried more often than its limit")
        holds(new.disruptions <= policy.disruption_limit, f"{name} is disrupted more often than its limit")
        taken_back = new.attempts == old.attempts - 1 and old.state == "Queued" and old.job_name is None
        holds(new.attempts >= old.attempts or taken_back, f"attempts of {name} have become fewer")
        if new.attempts > old.attempts:
            self._begun(step, old, new, status, run)
        if new.state != old.state or new.attempts != old.attempts:
            self._as_it_happened(new)
        if new.state == "Cached" and old.state != "Cached":
            self._left_out(step, new, states={item.name: item for item in status.steps})

    def _begun(self, step: Step, old: StepStatus, new: StepStatus, status: PipelineRunStatus, run: JsonObject) -> None:
        """Check that an attempt may be made."""
        name, spec, states = new.name, run["spec"], {item.name: item for item in status.steps}
        made_before = new.job_name is not None
        recorded = [item.number for item in new.previous_attempts or ()]
        holds(recorded == list(range(1, new.attempts)), f"attempts of {name} have no record: {recorded}")
        for dependency in self._run_steps.needs(name):
            holds(self._lets_pass(dependency, states), f"{name} begins before {dependency} has succeeded")
        main = [states[other] for other in self._run_steps.main]
        if self._run_steps.is_finally(name):
            holds(all(item.state in ENDED for item in main), f"{name} begins before all others have ended")
        if made_before:
            return  # its turn has come in a pod that other steps share
        failed = any(item.state == "Failed" for item in main)
        stops = failed and self._spec.failure_policy != "ContinueOnFailure"
        ends = spec.get("cancel") or any(item.reason == "RunTimedOut" for item in main)
        holds(not spec.get("suspend") or ends, f"{name} begins while the run is suspended")
        if self._run_steps.is_finally(name):
            holds(spec.get("cancel") != "Immediate", f"{name} begins after the run was cancelled at once")
        else:
            holds(not spec.get("cancel"), f"{name} begins after the run was cancelled")
            holds(not stops, f"{name} begins against the policy")
        active = sum(item.state in ACTIVE for item in status.steps)
        holds(active <= self._limit, f"{active} steps are under way, more than {self._limit}")

    def _left_out(self, step: Step, new: StepStatus, states: Mapping[str, StepStatus]) -> None:
        """Check that a step may be left out because it ran before."""
        name = new.name
        holds(step.cache is not None, f"{name} is left out though it is not to be cached")
        holds(ran_before(new.cache_key or ""), f"{name} is left out though nothing is kept of it")
        holds(new.attempts == 0 and not self._truth.exit_codes[name, 1], f"{name} is left out though it has begun")
        for dependency in self._run_steps.needs(name):
            holds(self._lets_pass(dependency, states), f"{name} is left out before {dependency} has succeeded")

    def _lets_pass(self, name: str, states: Mapping[str, StepStatus]) -> bool:
        return lets_pass(state_of(self._run_steps, name, states), used=False)

    def _as_it_happened(self, new: StepStatus) -> None:
        attempt = (new.name, new.attempts)
        if new.state == "Running":
            self._seen_running.add(attempt)
        if new.reason == NO_ITEMS:
            return
        codes, disturbed = self._truth.exit_codes[attempt], attempt in self._truth.disturbed
        if new.state == "Succeeded":
            holds(0 in codes, f"{attempt} has not succeeded")
        if new.state in {"Failed", "Retrying"} and new.reason in {"ExitCode", "OOMKilled"}:
            holds(new.exit_code in codes, f"{attempt} ended with {codes}, not with {new.exit_code}")
            holds(new.exit_code != SIGTERM_CODE, f"{attempt} was ended with its pod, not by itself")
        charged = [item for item in new.previous_attempts or () if item.charged]
        for item in charged:
            earlier = (new.name, item.number)
            own = self._truth.exit_codes[earlier] & {3, 137}
            waited = earlier not in self._seen_running or self._timed_out(new.name, item.reason)
            holds(own or waited, f"the disruption of {earlier} is charged to the step")
        if new.state == "Retrying":
            uncharged = new.disruptions - sum(not item.charged for item in new.previous_attempts or ())
            holds(disturbed or not uncharged, f"{attempt} counts as disrupted and was not")
            lost = disturbed and not codes and not self._timed_out(new.name, new.reason)
            holds(uncharged or not lost or attempt not in self._seen_running, f"the disruption of {attempt} is charged")

    def _timed_out(self, name: str, reason: str | None) -> bool:
        return reason == "DeadlineExceeded" and self._step_of(name).timeout_seconds is not None

    def _step_of(self, name: str) -> Step:
        """Return a step; also one with forEach before its items are known."""
        return self._run_steps.by_name.get(name) or self._run_steps.graph.steps[name]

    def _finished(self, new: PipelineRunStatus, run: JsonObject) -> None:
        states = [step.state for step in new.steps]
        condition = next(item for item in new.conditions if item.type == "Succeeded")
        if new.completion_time is None:
            holds(condition.status == "Unknown", "a run that has not ended has a result")
            return
        holds(all(state in ENDED for state in states), "the run has ended before its steps")
        if condition.status == "True":
            skipped = [step for step in new.steps if step.state == "Skipped"]
            on_purpose = all(step.reason in SKIPPED_ON_PURPOSE for step in skipped)
            holds(
                set(states) <= {"Succeeded", "Cached", "Skipped"} and on_purpose,
                "the run has succeeded without its steps",
            )
        else:
            holds(run["spec"].get("cancel") or set(states) & NOT_SUCCEEDED, "the run has failed without reason")
        if run["spec"].get("cancel") and self._last.completion_time is None:
            holds(condition.status == "False", "a cancelled run counts as completed")


def _logs_of(step: StepStatus) -> Iterator[tuple[int, str]]:
    """Yield where the log of each attempt is, by its number."""
    for attempt in step.previous_attempts or ():
        if attempt.log_uri is not None:
            yield attempt.number, attempt.log_uri
    if step.log_uri is not None:
        yield step.attempts, step.log_uri


def _without_logs(step: StepStatus) -> StepStatus:
    attempts = tuple(attempt.model_copy(update={"log_uri": None}) for attempt in step.previous_attempts or ())
    return step.model_copy(update={"log_uri": None, "previous_attempts": attempts or None})


def _without_generation(status: PipelineRunStatus) -> Mapping[str, object]:
    conditions = {"__all__": {"observed_generation"}}
    return status.model_dump(exclude={"observed_generation": True, "conditions": conditions})
