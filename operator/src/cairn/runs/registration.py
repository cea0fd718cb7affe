"""What is to be registered of a run, and what its status says of that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cairn.api.base import JsonObject
from cairn.api.conditions import ConditionStatus, condition_of, set_condition
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import ArtifactStatus, PipelineRunStatus
from cairn.api.registration import (
    APPROVE_ANNOTATION,
    REFUSE_ANNOTATION,
    Register,
    RegistrationState,
    RegistrationStatus,
)
from cairn.api.time import parse
from cairn.components.errors import ComponentError
from cairn.runs.cel import Question
from cairn.runs.graph import outputs_of
from cairn.runs.instances import RunSteps
from cairn.runs.states import SUCCEEDED
from cairn.runs.when import question_of_register

REGISTERED_CONDITION = "Registered"
REGISTERING = "Registering"
NOT_REGISTERED = "NotRegistered"
AWAITING_APPROVAL = "AwaitingApproval"
OVER: frozenset[RegistrationState] = frozenset(
    {"Registered", "NotRegistered", "ApprovalRefused", "ApprovalTimedOut", "Failed"}
)
"""What a registration does not change from."""
LONGEST_MESSAGE = 512
LONGEST_NAME = 128
"""Characters of the name of who decides that are kept."""

Place = tuple[str, str]
"""A step and one of its artifacts."""


@dataclass(frozen=True)
class Wanted:
    """An artifact that is there and to be registered."""

    step: str
    attempt: int
    artifact: ArtifactStatus
    register: Register
    question: Question | None
    """What decides whether it is registered; None where nothing does."""


@dataclass(frozen=True)
class Decision:
    """What somebody has decided about the models of a run that wait for approval."""

    kind: Literal["Approved", "Refused"]
    who: str


def declared(spec: RunSpec) -> Iterator[Register]:
    """Yield what a run declares to register."""
    for step in spec.all_steps:
        for output in outputs_of(step):
            if output.register_ is not None:
                yield output.register_


def registers(spec: RunSpec) -> bool:
    """Return whether a run declares something to register."""
    return any(True for _ in declared(spec))


def wanted_of(steps: RunSteps, status: PipelineRunStatus) -> Mapping[Place, Wanted]:
    """Return what is to be registered of the steps that have succeeded by now."""
    found: dict[Place, Wanted] = {}
    states = {state.name: state for state in status.steps}
    for state in status.steps:
        step = steps.by_name.get(state.name)
        if step is None or state.state not in SUCCEEDED:
            continue
        artifacts = {artifact.name: artifact for artifact in state.artifacts or ()}
        for output in outputs_of(step):
            register = output.register_
            if register is not None and output.name in artifacts:
                asks = register.when is not None
                question = question_of_register(steps, step, register.when or "", states) if asks else None
                artifact = artifacts[output.name]
                found[step.name, output.name] = Wanted(step.name, state.attempts, artifact, register, question)
    return found


def decision_of(body: JsonObject) -> Decision | None:
    """Return what the annotations of a run say; a refusal counts more."""
    annotations = body["metadata"].get("annotations") or {}
    if refused_by := annotations.get(REFUSE_ANNOTATION):
        return Decision("Refused", refused_by[:LONGEST_NAME])
    if approved_by := annotations.get(APPROVE_ANNOTATION):
        return Decision("Approved", approved_by[:LONGEST_NAME])
    return None


def approval_ends(registration: RegistrationStatus, register: Register) -> datetime | None:
    """Return until when approval is waited for; None where it is not."""
    if registration.state != AWAITING_APPROVAL or registration.since is None:
        return None
    return parse(registration.since) + timedelta(seconds=register.approval_timeout_seconds)


def with_registrations(
    status: PipelineRunStatus,
    registrations: Mapping[Place, RegistrationStatus],
    problem: ComponentError | None,
    generation: int,
    now: str,
) -> PipelineRunStatus:
    """Return a run's status with what became of its models; `problem` is what keeps them from being registered now."""
    told = tuple(registrations[place] for place in sorted(registrations))
    condition, reason, message = _condition(told, problem, has_ended=status.completion_time is not None)
    conditions = set_condition(
        status.conditions,
        REGISTERED_CONDITION,
        status=condition,
        reason=reason,
        message=message,
        generation=generation,
        now=now,
    )
    return status.model_copy(update={"conditions": tuple(conditions), "registrations": told or None})


def _condition(
    told: Sequence[RegistrationStatus], problem: ComponentError | None, *, has_ended: bool
) -> tuple[ConditionStatus, str, str]:
    by_state = {state: [one for one in told if one.state == state] for state in ("Pending", *OVER, AWAITING_APPROVAL)}
    if by_state["Failed"]:
        return "False", "RegistrationFailed", _sentences(by_state["Failed"])
    if problem is not None and (by_state["Pending"] or by_state[AWAITING_APPROVAL]):
        what = "Models are registered" if by_state["Pending"] else "What was decided is carried out"
        return "False", problem.reason, f"{problem.message} {what} as soon as it can be."
    if by_state[AWAITING_APPROVAL]:
        models = ", ".join(f"{one.model} version {one.version}" for one in by_state[AWAITING_APPROVAL])
        how = f"set the annotation {APPROVE_ANNOTATION} or {REFUSE_ANNOTATION} of this run to your name"
        return "Unknown", AWAITING_APPROVAL, f"To be approved: {models}; {how}."
    if by_state["Pending"] or not has_ended:
        return "Unknown", REGISTERING, "Models are registered when their steps have succeeded."
    for state in ("ApprovalRefused", "ApprovalTimedOut"):
        if by_state[state]:
            return "False", state, _sentences(by_state[state])
    if by_state["Registered"]:
        return "True", "Registered", _sentences(by_state["Registered"])
    return "False", NOT_REGISTERED, _sentences(told) or "None of the steps that write models has succeeded."


def _sentences(registrations: Iterable[RegistrationStatus]) -> str:
    return " ".join(_sentence(one) for one in registrations)[:4096]


def _sentence(one: RegistrationStatus) -> str:
    what = f"{one.step}.{one.artifact}"
    if one.state == "Registered":
        alias = f", {one.alias}" if one.alias is not None else ""
        return f"{what} is version {one.version} of {one.model}{alias}."
    return f"{what}: {one.message or one.state}"


def is_to_be_registered(run: JsonObject) -> bool:
    """Return whether not all has become of a run's models that is to."""
    condition = condition_of(run, REGISTERED_CONDITION) or {}
    return condition.get("reason") == REGISTERING or any(item["state"] not in OVER for item in _registrations(run))


def awaits_approval(run: JsonObject) -> bool:
    """Return whether somebody is to decide about models of a run."""
    return any(item["state"] == AWAITING_APPROVAL for item in _registrations(run))


def _registrations(run: JsonObject) -> Sequence[JsonObject]:
    return (run.get("status") or {}).get("registrations") or ()
