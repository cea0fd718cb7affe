"""Which attempts' logs are to be kept, and what the status says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import AttemptStatus, StepStatus
from cairn.runs.container_status import statuses_of, terminated
from cairn.runs.states import ENDED

LogOf = tuple[str, int]
"""A step, and which attempt of it."""


@dataclass(frozen=True)
class Unkept:
    """An attempt that has ended, and whose log is in its pod only."""

    step: str
    number: int
    pod_name: str

    @property
    def log_of(self) -> LogOf:
        """Which attempt it is."""
        return self.step, self.number


def unkept(steps: Iterable[StepStatus]) -> Iterator[Unkept]:
    """Yield the attempts whose logs are still to be kept."""
    for step in steps:
        for attempt in step.previous_attempts or ():
            if attempt.pod_name is not None and attempt.start_time is not None and attempt.log_uri is None:
                yield Unkept(step.name, attempt.number, attempt.pod_name)
        has_ended = step.state in ENDED or step.state == "Retrying"
        if has_ended and step.pod_name is not None and step.start_time is not None and step.log_uri is None:
            yield Unkept(step.name, step.attempts, step.pod_name)


def has_whole_log(pod: JsonObject, step: str) -> bool:
    """Return whether a step's container has ended in a pod; until then it may write more."""
    kinds = ("initContainerStatuses", "containerStatuses")
    return any(terminated(statuses_of(pod, kind).get(step)) is not None for kind in kinds)


def with_logs(steps: Iterable[StepStatus], kept: Mapping[LogOf, str]) -> tuple[StepStatus, ...]:
    """Return the steps with the URIs of the logs that are kept."""
    touched = {name for name, _ in kept}
    return tuple(_with_logs(step, kept) if step.name in touched else step for step in steps)


def _with_logs(step: StepStatus, kept: Mapping[LogOf, str]) -> StepStatus:
    def of_attempt(attempt: AttemptStatus) -> AttemptStatus:
        uri = kept.get((step.name, attempt.number))
        return attempt if uri is None else attempt.model_copy(update={"log_uri": uri})

    changed: dict[str, object] = {}
    uri = kept.get((step.name, step.attempts))
    if uri is not None and (step.state in ENDED or step.state == "Retrying"):
        changed["log_uri"] = uri
    if step.previous_attempts:
        changed["previous_attempts"] = tuple(map(of_attempt, step.previous_attempts))
    return step.model_copy(update=changed)
