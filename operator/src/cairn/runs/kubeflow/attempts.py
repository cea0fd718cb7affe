"""The attempts of a run on Kubeflow Pipelines, as it tells of them, and their pods. Pure.

It tells when a step has ended, and how; why, and what it waits for, only its pod tells, as long as that is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cairn.api.base import JsonObject
from cairn.api.step import Step
from cairn.components.errors import ComponentError
from cairn.runs.container_status import started_at, statuses_of, terminated
from cairn.runs.kubeflow.outputs import OutputsInvalidError, StepOutputs
from cairn.runs.kubeflow.prelude import NOT_WRITTEN
from cairn.runs.kubeflow.run_details import DRIVER_SUFFIX, RunDetails, TaskDetails
from cairn.runs.observation import AttemptObservation, Fault, Phase
from cairn.runs.pod import RESULTS_FILE
from cairn.runs.pod_observation import observe_pod
from cairn.runs.results import RESULTS_INVALID, parse_results
from cairn.step.errors import OUTPUT_MISSING

MAIN_CONTAINER = "main"
NOT_BEGUN = frozenset({None, "SKIPPED", "CANCELED"})
"""States of tasks without an attempt: which steps are left out, Cairn finds out by itself."""
NODE_NAME_ANNOTATION = "workflows.argoproj.io/node-name"
"""Where in the workflow a pod's node is, such as `wine-x2x7q.root.train.executor(1)`."""
DRIVER_FAILED = "DriverFailed"
STEP_FAILED = "StepFailed"
TERMINATED = "Terminated"
NO_POD = "Kubeflow Pipelines says that it failed; its pod, which would tell why, is not there any more."
NOT_TOLD = "Kubeflow Pipelines says that it failed, and its pod does not tell why; look at that pod, and its log."
OUTPUTS_NOT_TAKEN = (
    "Its command has succeeded, and Kubeflow Pipelines could not take what it has written: its results are not an object in JSON, "
    "or too large, or the bucket refuses; the log of its pod may tell."
)
TERMINATED_MESSAGE = "The run was terminated in Kubeflow Pipelines."
_OF_ATTEMPT = re.compile(r"\.([^.]+)\.executor(?:\((\d+)\))?$")
_EXIT_STATUS = re.compile(r"exit status (\d+)\s*$")
"""What the launcher says last of a step that failed, whose exit code is not its own."""


@dataclass(frozen=True)
class Sight:
    """What is known of a run on Kubeflow Pipelines."""

    details: RunDetails
    pods: Sequence[JsonObject]
    now: datetime
    are_all_pods_seen: bool = True
    """Whether a pod that is not among them is not there."""
    recorded: Mapping[str, int] = field(default_factory=dict[str, int])
    """The number of each step's attempt, as far as it is recorded."""
    outputs: Mapping[str, StepOutputs | ComponentError] = field(default_factory=dict[str, StepOutputs | ComponentError])
    """Of the steps that have succeeded, as far as they were read."""
    logs: Mapping[str, str] = field(default_factory=dict[str, str])
    """The ends of the logs of containers, by the UIDs of their pods."""


def attempts_of(sight: Sight, steps: Mapping[str, Step]) -> Iterator[AttemptObservation]:
    """Yield the attempts of these steps that have begun."""
    pods = pods_by_attempt(sight.pods)
    for name, step in steps.items():
        task = sight.details.tasks.get(name)
        driver = sight.details.tasks.get(f"{name}{DRIVER_SUFFIX}")
        of_step = sorted((number, pod) for (of, number), pod in pods.items() if of == name)
        seen = [_of_pod(step, number, pod, sight) for number, pod in of_step]
        if sight.details.was_terminated:
            seen = [_terminated(attempt) if attempt.phase is Phase.FAILED else attempt for attempt in seen]
        yield from (_ended_before_another(attempt) for attempt in seen[:-1])
        is_known = bool(seen) and seen[-1].number >= sight.recorded.get(name, 0)
        latest = _latest(step, seen[-1] if is_known else None, task, driver, sight)
        if latest is not None and latest.reason == STEP_FAILED and is_known:
            latest = replace(latest, message=_what_is_seen_of(of_step[-1][1]))
        if latest is not None:
            yield latest


def pods_by_attempt(pods: Iterable[JsonObject]) -> Mapping[tuple[str, int], JsonObject]:
    """Return the pods of attempts, by step and number of the attempt."""
    found: dict[tuple[str, int], JsonObject] = {}
    for pod in pods:
        name = (pod["metadata"].get("annotations") or {}).get(NODE_NAME_ANNOTATION, "")
        match = _OF_ATTEMPT.search(name)
        if match is not None:
            found[match.group(1), int(match.group(2) or 0) + 1] = pod
    return found


def _latest(
    step: Step,
    seen: AttemptObservation | None,
    task: TaskDetails | None,
    driver: TaskDetails | None,
    sight: Sight,
) -> AttemptObservation | None:
    """Return the latest attempt of a step; None where there is none."""
    number = max(1, sight.recorded.get(step.name, 0))
    known = seen or AttemptObservation(step.name, number, Phase.WAITING, awaits_turn=True)
    state = task.state if task is not None else None
    if driver is not None and driver.state == "FAILED":
        return _terminated(known, driver) if sight.details.was_terminated else _not_driven(known)
    if state == "SUCCEEDED" and task is not None:
        return _succeeded(known, task, sight.outputs.get(step.name))
    if state == "FAILED" and task is not None:
        if known.wants_log_of is not None:
            return known
        if seen is None and not sight.are_all_pods_seen:
            return replace(known, phase=Phase.RUNNING, started=task.started, wants_log_of=step.name)
        return _terminated(known, task) if sight.details.was_terminated else _failed(known, task)
    if state in NOT_BEGUN:
        return seen
    if seen is None and state == "RUNNING" and task is not None:
        return replace(known, phase=Phase.RUNNING, started=task.started)
    return known


def _not_driven(known: AttemptObservation) -> AttemptObservation:
    """Return an attempt that was to be made, and could not."""
    message = (
        "Kubeflow Pipelines could not find out what it is to run with, such as a result that another step has not written; the "
        f"log of the pod of {known.step}{DRIVER_SUFFIX} tells."
    )
    return replace(known, phase=Phase.FAILED, fault=Fault.STEP, reason=DRIVER_FAILED, message=message, is_last=True)


def _succeeded(
    known: AttemptObservation, task: TaskDetails, outputs: StepOutputs | ComponentError | None
) -> AttemptObservation:
    """Return an attempt that has succeeded, once it is known what it has written."""
    times = {"started": known.started or task.started, "ended": known.ended or task.ended}
    if isinstance(outputs, StepOutputs):
        return replace(
            known,
            phase=Phase.SUCCEEDED,
            reason=None,
            message=None,
            fault=None,
            artifacts=outputs.artifacts,
            results=outputs.results,
            **times,
        )
    running = _still_running(known, started=times["started"], ended=known.ended)
    if outputs is None:
        return running
    if isinstance(outputs, OutputsInvalidError):
        why = {"reason": outputs.reason, "message": outputs.message}
        return replace(known, phase=Phase.FAILED, fault=Fault.STEP, is_last=True, **why, **times)
    return replace(running, reason=outputs.reason, message=outputs.message, kept_up_since=task.ended)


def _failed(known: AttemptObservation, task: TaskDetails) -> AttemptObservation:
    """Return an attempt after which there is no other one."""
    if known.phase is Phase.FAILED:
        return replace(known, is_last=True)
    return replace(
        known,
        phase=Phase.FAILED,
        fault=Fault.STEP,
        reason=STEP_FAILED,
        message=NO_POD,
        started=known.started or task.started,
        ended=task.ended,
        is_last=True,
    )


def _what_is_seen_of(pod: JsonObject) -> str:
    """Return what there is to say of a step that failed, and whose pod does not tell why."""
    ended = terminated(statuses_of(pod, "containerStatuses").get(MAIN_CONTAINER))
    return OUTPUTS_NOT_TAKEN if ended is not None and ended["exitCode"] == 0 else NOT_TOLD


def _terminated(known: AttemptObservation, task: TaskDetails | None = None) -> AttemptObservation:
    """Return an attempt that has failed in a run that was ended: its exit code is that of what was killed."""
    return replace(
        known,
        phase=Phase.FAILED,
        fault=Fault.STOPPED,
        reason=TERMINATED,
        message=TERMINATED_MESSAGE,
        ended=known.ended or (task.ended if task is not None else None),
        is_last=True,
    )


def _ended_before_another(attempt: AttemptObservation) -> AttemptObservation:
    """Return an attempt that another one has followed, whatever its pod tells."""
    if attempt.phase is Phase.FAILED:
        return attempt
    return replace(attempt, phase=Phase.FAILED, fault=Fault.STEP, reason=attempt.reason or STEP_FAILED)


def _of_pod(step: Step, number: int, pod: JsonObject, sight: Sight) -> AttemptObservation:
    """Return an attempt as its pod shows it; that it has succeeded, the pod alone does not show."""
    own = statuses_of(pod, "containerStatuses").get(MAIN_CONTAINER)
    ended = terminated(own)
    log = sight.logs.get(pod["metadata"]["uid"])
    logs = {step.name: log} if log is not None else {}
    seen = next(observe_pod(None, _with_container_of(step, pod), [(step, number)], logs, sight.now))
    seen = replace(seen, has_own_pod=True)
    if seen.phase is Phase.SUCCEEDED or (ended is not None and ended["exitCode"] == 0):
        return _still_running(seen, started=started_at(ended) if ended is not None else seen.started)
    if ended is not None and log is None:
        return replace(_still_running(seen, started=seen.started), wants_log_of=step.name)
    if seen.phase is not Phase.FAILED:
        return seen
    failed = replace(seen, fault=Fault.STEP)  # Kubeflow Pipelines makes no difference
    return _with_own_exit_code(step, failed) if failed.reason == "ExitCode" else failed


def _still_running(seen: AttemptObservation, *, started: str | None, ended: str | None = None) -> AttemptObservation:
    """Return an attempt as one of whose end not all is known."""
    return replace(seen, phase=Phase.RUNNING, reason=None, message=None, fault=None, started=started, ended=ended)


def _with_container_of(step: Step, pod: JsonObject) -> JsonObject:
    """Return the pod as if it had the container of the step alone, named after it, as elsewhere."""

    def own(items: Iterable[JsonObject]) -> list[JsonObject]:
        return [{**item, "name": step.name} for item in items if item["name"] == MAIN_CONTAINER]

    status = pod.get("status", {})
    return {
        **pod,
        "spec": {**pod["spec"], "initContainers": [], "containers": own(pod["spec"]["containers"])},
        "status": {
            **status,
            "initContainerStatuses": [],
            "containerStatuses": own(status.get("containerStatuses", ())),
        },
    }


def _with_own_exit_code(step: Step, failed: AttemptObservation) -> AttemptObservation:
    """Return a failed attempt with the exit code of the step's own command, which the launcher only tells."""
    log = (failed.log_tail or "").rstrip()
    missing = next((line for line in log.splitlines() if line.startswith(NOT_WRITTEN)), None)
    if missing is not None:
        path = missing.removeprefix(NOT_WRITTEN).strip()
        if path == RESULTS_FILE:
            return replace(failed, reason=RESULTS_INVALID, message=str(parse_results(step, "")))
        message = f"The step wrote nothing to {path}; write it there, or remove it from outputs."
        return replace(failed, reason=OUTPUT_MISSING, message=message)
    match = _EXIT_STATUS.search(log)
    if match is None:
        return failed
    code = int(match.group(1))
    return replace(failed, exit_code=code, message=f"Step {failed.step} ended with exit code {code}.")
