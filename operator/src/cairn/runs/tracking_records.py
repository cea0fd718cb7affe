"""What an experiment tracker is to hold of a run: one record of the run, and one of each attempt of a step. Pure.

Limits are those of MLflow 3 (mlflow/utils/validation.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import ArtifactStatus, AttemptStatus, PipelineRunStatus, ResultStatus, StepStatus
from cairn.api.step import Step
from cairn.api.time import parse, seconds_between
from cairn.components.records import Dataset, Metric, Record, RecordState
from cairn.runs.creator import creator_of
from cairn.runs.gathering import artifacts_by_step
from cairn.runs.instances import RunSteps, item_of
from cairn.runs.retry import is_charged
from cairn.runs.states import ENDED
from cairn.runs.status import SUCCEEDED_CONDITION

LONGEST_TAG = 8000
MOST_METRICS = 500
"""Of a run; a tracker takes 1,000 at a time."""
MOST_DATASETS = 100

UID_TAG = "cairn.run.uid"
STEP_TAG = "cairn.step"
ATTEMPT_TAG = "cairn.attempt"
USER_TAG = "mlflow.user"
RECORD_TAG = "cairn.record"
"""What a record is of: what a step's own code records has none."""

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
"""Python takes `1_000`, and the digits of any script, for numbers too."""

RecordOf = tuple[str, int]
"""A step and the number of its attempt; 0 for a step whose outputs come from an earlier run."""
RUN: RecordOf = ("", 0)
"""The run itself."""


def context_of(body: JsonObject, step: str, number: int) -> Mapping[str, str]:
    """Return the tags of what the code of an attempt records on its own."""
    metadata = body["metadata"]
    return {UID_TAG: metadata["uid"], "cairn.run": metadata["name"], STEP_TAG: step, ATTEMPT_TAG: str(number)}


def record_of_run(body: JsonObject, spec: RunSpec, status: PipelineRunStatus, version: str) -> Record:
    """Return what is to be held of a run that has started; `version` is Cairn's."""
    metadata = body["metadata"]
    stack = status.stack
    tags = {
        UID_TAG: metadata["uid"],
        RECORD_TAG: "Run",
        "cairn.run": metadata["name"],
        "cairn.namespace": metadata["namespace"],
        "cairn.pipeline": spec.pipeline,
        "cairn.version": version,
        USER_TAG: creator_of(body),
        "mlflow.source.name": spec.pipeline,
        "mlflow.source.type": "JOB",
        **({"cairn.stack": stack.name, "cairn.stack.digest": stack.digest} if stack is not None else {}),
        **_source(spec),
        **{tag.name: tag.value for tag in (spec.tracking.tags or () if spec.tracking else ())},
    }
    begun = Record(metadata["name"], _milliseconds(status.start_time), _cut(tags), spec.parameter_values)
    if status.completion_time is None:
        return begun
    succeeded = next(item for item in status.conditions if item.type == SUCCEEDED_CONDITION)
    ended = _milliseconds(status.completion_time)
    numbers = {
        "cairn.duration_seconds": float(status.duration_seconds or 0),
        "cairn.retries": float(sum(step.retries_used for step in status.steps)),
        "cairn.disruptions": float(sum(step.disruptions for step in status.steps)),
    }
    own = [Metric(name, value, ended) for name, value in numbers.items()]
    return Record(
        begun.name,
        begun.started,
        begun.tags,
        begun.params,
        state=_end_of_run(succeeded.status, succeeded.reason),
        ended=ended,
        closing_tags=_cut({"cairn.reason": succeeded.reason, "cairn.message": succeeded.message}),
        metrics=[*own, *_results_of_all(status, spec)][:MOST_METRICS],
    )


def records_of_attempts(
    run: Record, steps: RunSteps, status: PipelineRunStatus, names: Container[str]
) -> Mapping[RecordOf, Record]:
    """Return what is to be held of each attempt of the steps with these names."""
    states = {step.name: step for step in status.steps}
    artifacts = artifacts_by_step(steps, states)
    found: dict[RecordOf, Record] = {}
    for name, state in states.items():
        step = steps.by_name.get(name)
        if step is None or name not in names:
            continue
        datasets = tuple(_datasets(step, artifacts))[:MOST_DATASETS]
        for attempt in state.previous_attempts or ():
            found[name, attempt.number] = _of_earlier(run, step, attempt, datasets)
        if state.attempts or state.state == "Cached":
            found[name, state.attempts] = _of_latest(run, step, state, datasets)
    return found


def _of_earlier(run: Record, step: Step, attempt: AttemptStatus, datasets: Sequence[Dataset]) -> Record:
    ended = _milliseconds(attempt.completion_time or attempt.start_time, run.started)
    return Record(
        _name(step, attempt.number),
        _milliseconds(attempt.start_time, ended),
        _attempt_tags(run, step, attempt.number),
        state="FAILED" if attempt.charged else "KILLED",
        ended=ended,
        closing_tags=_cut(
            {
                "cairn.reason": attempt.reason,
                "cairn.message": attempt.message,
                "cairn.exit_code": attempt.exit_code,
                "cairn.job": attempt.job_name,
                "cairn.pod": attempt.pod_name,
                "cairn.log": attempt.log_uri,
            }
        ),
        datasets=datasets,
    )


def _of_latest(run: Record, step: Step, state: StepStatus, datasets: Sequence[Dataset]) -> Record:
    began = state.start_time or state.queued_time or state.completion_time
    cached = state.cached_from
    begun = Record(
        _name(step, state.attempts),
        _milliseconds(began, run.started),
        _attempt_tags(run, step, state.attempts),
        datasets=datasets,
    )
    if state.state not in ENDED and state.state != "Retrying":
        return begun
    ended = _milliseconds(state.completion_time, begun.started)
    closing = {
        "cairn.reason": state.reason,
        "cairn.message": state.message,
        "cairn.exit_code": state.exit_code,
        "cairn.job": state.job_name,
        "cairn.pod": state.pod_name,
        "cairn.log": state.log_uri,
        "cairn.image.digest": state.image_digest,
        "cairn.cached_from": f"{cached.run}/{cached.step}" if cached is not None else None,
        **{f"cairn.artifact.{kept.name}": f"{kept.uri} {kept.digest}" for kept in state.artifacts or ()},
        **{f"cairn.result.{kept.name}": kept.value for kept in state.results or () if _number(kept) is None},
    }
    return Record(
        begun.name,
        begun.started,
        begun.tags,
        state=_end_of_step(state),
        ended=ended,
        closing_tags=_cut(closing),
        metrics=[*_metrics(state.results or (), "", ended), *_times(state, ended)],
        datasets=datasets,
    )


def _attempt_tags(run: Record, step: Step, number: int) -> Mapping[str, str]:
    item = item_of(step)
    return _cut(
        {
            UID_TAG: run.tags[UID_TAG],
            RECORD_TAG: "Attempt",
            STEP_TAG: step.name,
            ATTEMPT_TAG: number,
            "cairn.run": run.name,
            "cairn.item": item[0] if item is not None else None,
            USER_TAG: run.tags.get(USER_TAG),
            "mlflow.docker.image.uri": step.image,
            "mlflow.source.name": step.name,
            "mlflow.source.type": "JOB",
            **{name: value for name, value in run.tags.items() if name.startswith("mlflow.source.git.")},
        }
    )


def _source(spec: RunSpec) -> Mapping[str, str]:
    if spec.source is None:
        return {}
    git = spec.source.git
    tags = {"mlflow.source.git.repoURL": git.repository, "mlflow.source.git.commit": git.revision}
    return tags if git.branch is None else {**tags, "mlflow.source.git.branch": git.branch}


def _datasets(step: Step, artifacts: Mapping[tuple[str, str], Mapping[str, ArtifactStatus]]) -> Iterator[Dataset]:
    for read in (step.inputs.artifacts or ()) if step.inputs is not None else ():
        if read.uri is not None:
            yield Dataset(read.name, read.uri, "")
        if read.from_ is not None:
            written, _, output = read.from_.partition(".")
            for place, artifact in artifacts.get((written, output), {}).items():
                yield Dataset(f"{read.name}/{place}" if place else read.name, artifact.uri, artifact.digest)


def _results_of_all(status: PipelineRunStatus, spec: RunSpec) -> Iterator[Metric]:
    """Yield the numbers that steps wrote, instances of steps aside, under their steps' names."""
    written = {step.name for step in spec.all_steps}
    for step in status.steps:
        if step.name in written:
            moment = _milliseconds(step.completion_time or status.completion_time)
            yield from _metrics(step.results or (), f"{step.name}.", moment)


def _metrics(results: Sequence[ResultStatus], prefix: str, moment: int) -> Iterator[Metric]:
    for result in results:
        value = _number(result)
        if value is not None:
            yield Metric(f"{prefix}{result.name}", value, moment)


def _times(state: StepStatus, ended: int) -> Iterator[Metric]:
    if state.start_time is not None and state.completion_time is not None:
        seconds = seconds_between(state.start_time, state.completion_time)
        yield Metric("cairn.duration_seconds", float(seconds), ended)
    if state.start_time is not None and state.queued_time is not None:
        yield Metric("cairn.queued_seconds", float(seconds_between(state.queued_time, state.start_time)), ended)


def _number(result: ResultStatus) -> float | None:
    if _NUMBER.fullmatch(result.value) is None:
        return None
    value = float(result.value)
    return value if math.isfinite(value) else None


def _end_of_run(succeeded: str, reason: str) -> RecordState:
    if succeeded == "True":
        return "FINISHED"
    return "KILLED" if reason == "Cancelled" else "FAILED"


def _end_of_step(state: StepStatus) -> RecordState:
    if state.state in {"Succeeded", "Cached"}:
        return "FINISHED"
    is_disrupted = state.state == "Retrying" and not is_charged(state)
    return "KILLED" if state.state == "Cancelled" or is_disrupted else "FAILED"


def _name(step: Step, number: int) -> str:
    return step.name if number <= 1 else f"{step.name} ({number})"


def _cut(tags: Mapping[str, object]) -> Mapping[str, str]:
    """Return the tags that have a value, as long as a tracker takes them."""
    return {name: str(value)[:LONGEST_TAG] for name, value in tags.items() if value is not None}


def _milliseconds(moment: str | None, otherwise: int = 0) -> int:
    return round(parse(moment).timestamp() * 1000) if moment is not None else otherwise
