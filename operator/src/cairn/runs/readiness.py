"""What becomes of a step before anything of it has started: whether what it needs lets it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cairn.api.pipelinerun_status import StepState, StepStatus
from cairn.runs.allowance import RESULTS_TOO_LARGE
from cairn.runs.cel import Answer, Question
from cairn.runs.gathering import result_of, state_of
from cairn.runs.graph import references_of, texts_of
from cairn.runs.instances import RunSteps, item_of
from cairn.runs.items import ITEMS_INVALID, NO_ITEMS
from cairn.runs.references import LONGEST_TEXT, Replacement, TextsTooLargeError, Values
from cairn.runs.states import DEPENDENCY_SKIPPED, ENDED, SKIPPED_ON_PURPOSE, WHEN_FALSE, lets_pass
from cairn.runs.when import question_of

DEPENDENCY_FAILED = "DependencyFailed"
WHEN_INVALID = "WhenInvalid"


@dataclass(frozen=True)
class Settled:
    """How a step ends without an attempt."""

    state: StepState
    reason: str
    message: str


def settled_without_attempt(
    steps: RunSteps, name: str, states: Mapping[str, StepStatus], answers: Mapping[Question, Answer]
) -> Settled | Question | None:
    """Return how a step ends that no attempt was made of, or None where it may start, now or later.

    A question is what has to be answered first.
    """
    step = steps.by_name[name]
    needed = {other: state_of(steps, other, states) for other in sorted(steps.needs(name))}
    against = [
        _held_back(other, state)
        for other, state in needed.items()
        if state.state in ENDED and not lets_pass(state, used=other in steps.uses(name))
    ]
    failed = next((settled for settled in against if settled.reason == DEPENDENCY_FAILED), None)
    if failed is not None:
        return failed
    if any(state.state not in ENDED for state in needed.values()):
        return None  # a step that was skipped on purpose lets others pass, so it is skipped in its turn
    if against:
        return against[0]
    if name in steps.problems:
        return Settled("Failed", ITEMS_INVALID, steps.problems[name])
    if name in steps.without_items:
        return Settled("Succeeded", NO_ITEMS, "There was no item to run it for.")
    if step.for_each is not None:
        return None  # its instances are asked
    return _too_large(steps, name, states) or _when_false(steps, name, states, answers)


def waits_for_nothing(steps: RunSteps, name: str, states: Mapping[str, StepStatus]) -> bool:
    """Return whether all steps have ended that a step needs, so that it could start unless something is against that."""
    is_a_whole_loop = steps.by_name[name].for_each is not None
    return not is_a_whole_loop and all(state_of(steps, other, states).state in ENDED for other in steps.needs(name))


def _too_large(steps: RunSteps, name: str, states: Mapping[str, StepStatus]) -> Settled | None:
    step = steps.by_name[name]
    used = {reference.result for _, reference in references_of(step) if reference.result}
    results = {(producer, result): result_of(steps, producer, result, states) or "" for producer, result in used}
    for (producer, result), text in sorted(results.items()):
        size = len(text.encode())
        if size > LONGEST_TEXT:
            message = (
                f"Result {result} of all instances of step {producer} together has {size} bytes, of which a command or "
                f"variable takes {LONGEST_TEXT}; keep it as an artifact."
            )
            return Settled("Failed", RESULTS_TOO_LARGE, message)
    if not results:
        return None  # what else it refers to was looked at before the run started
    replacement = Replacement(Values(steps.spec.parameter_values, "", "", results, item_of(step)).value_of)
    try:
        for _, text in texts_of(step):
            replacement.make_room_for(text)
    except TextsTooLargeError as error:
        return Settled("Failed", RESULTS_TOO_LARGE, f"Now that it has the results that it uses, {error}.")
    return None


def _when_false(
    steps: RunSteps, name: str, states: Mapping[str, StepStatus], answers: Mapping[Question, Answer]
) -> Settled | Question | None:
    step = steps.by_name[name]
    if step.when is None:
        return None
    question = question_of(steps, step, states)
    answer = answers.get(question)
    if answer is None:
        return question
    if answer.problem is not None:
        return Settled("Failed", WHEN_INVALID, f"Its when cannot be evaluated: {answer.problem}."[:1024])
    return None if answer.holds else Settled("Skipped", WHEN_FALSE, f"Its when is false: {step.when}"[:256])


def _held_back(name: str, state: StepStatus) -> Settled:
    if state.state == "Skipped" and state.reason in SKIPPED_ON_PURPOSE:
        return Settled("Skipped", DEPENDENCY_SKIPPED, f"Step {name}, whose outputs it uses, was skipped.")
    what = {"Skipped": "was skipped", "Cancelled": "was cancelled"}.get(state.state, "failed")
    return Settled("Skipped", DEPENDENCY_FAILED, f"Step {name}, which it needs, {what}.")
