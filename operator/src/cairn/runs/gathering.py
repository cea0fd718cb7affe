"""What the instances of a step with forEach amount to together: their state, their results, their artifacts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cairn.api.pipelinerun_status import ArtifactStatus, StepStatus
from cairn.runs.graph import outputs_of, results_of
from cairn.runs.instances import RunSteps
from cairn.runs.results import as_json
from cairn.runs.states import ENDED, SKIPPED_ON_PURPOSE, SUCCEEDED


def gathered(steps: RunSteps, name: str, states: Mapping[str, StepStatus]) -> StepStatus:
    """Return what the instances of a step amount to together: its state, as if it were one step."""
    return together(name, [states[instance] for instance in steps.instances[name]])


def together(name: str, of_instances: Sequence[StepStatus]) -> StepStatus:
    """Return what these instances of a step amount to."""
    counts = Counter(state.state for state in of_instances)
    if any(state.state not in ENDED for state in of_instances):
        return StepStatus(name=name, state="Pending")
    for state in ("Failed", "Cancelled"):
        if counts[state]:
            return StepStatus(name=name, state=state)
    against_will = [
        state for state in of_instances if state.state == "Skipped" and state.reason not in SKIPPED_ON_PURPOSE
    ]
    if against_will or counts["Skipped"] == len(of_instances):
        reason = (against_will or of_instances)[0].reason
        return StepStatus(name=name, state="Skipped", reason=reason)
    return StepStatus(name=name, state="Succeeded")


def state_of(steps: RunSteps, name: str, states: Mapping[str, StepStatus]) -> StepStatus:
    """Return the status of a step, or of one with forEach what its instances amount to together."""
    return states[name] if name in states else gathered(steps, name, states)


def result_of(steps: RunSteps, name: str, result: str, states: Mapping[str, StepStatus]) -> str | None:
    """Return a result of a step that has succeeded; of one with forEach, a JSON list of those of its instances."""
    if state_of(steps, name, states).state not in SUCCEEDED:
        return None
    if name in steps.without_items:
        return "[]"
    if name in steps.instances:
        return as_list([states[instance] for instance in steps.instances[name]], result)
    return own_result(states[name], result)


def results_by_step(steps: RunSteps, states: Mapping[str, StepStatus]) -> Mapping[tuple[str, str], str]:
    """Return the results of all steps that have succeeded, by step as it is written and result."""
    return {
        (name, result): value
        for name, step in steps.graph.steps.items()
        for result in results_of(step)
        if (value := result_of(steps, name, result, states)) is not None
    }


def artifacts_by_step(
    steps: RunSteps, states: Mapping[str, StepStatus]
) -> Mapping[tuple[str, str], Mapping[str, ArtifactStatus]]:
    """Return what steps that have succeeded have kept, by step and output, each by where it lies within the input.

    That is `""` for the input itself; of a step with forEach, the index of the instance.
    """
    kept: dict[tuple[str, str], dict[str, ArtifactStatus]] = {}
    for name, state in states.items():
        if state.state in SUCCEEDED:
            kept |= {(name, artifact.name): {"": artifact} for artifact in state.artifacts or ()}
    for name, instances in steps.instances.items():
        for output in outputs_of(steps.graph.steps[name]):
            kept[name, output.name] = {
                str(index): kept[instance, output.name][""]
                for index, instance in enumerate(instances)
                if (instance, output.name) in kept
            }
    for name in steps.without_items:
        kept |= {(name, output.name): {} for output in outputs_of(steps.graph.steps[name])}
    return kept


def as_list(states: Iterable[StepStatus], result: str) -> str:
    """Return a result of several instances as a JSON list, null for one that has none."""
    return as_json([own_result(state, result) for state in states])


def own_result(state: StepStatus, result: str) -> str | None:
    """Return a result as the status of one step, or instance, has it."""
    return next((found.value for found in state.results or () if found.name == result), None)
