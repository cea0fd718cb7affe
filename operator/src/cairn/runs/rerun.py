"""What a run takes over from an earlier one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.api.step import Step
from cairn.runs.graph import StepGraph
from cairn.runs.instances import RunSteps, item_of
from cairn.runs.items import NO_ITEMS, InstanceMaker
from cairn.runs.problem import Problem
from cairn.runs.states import SKIPPED_ON_PURPOSE, SUCCEEDED, TAKEN_OVER

FROM_FAILED = "Failed"
HOW_IT_RUNS = frozenset(
    {
        "retry",
        "timeout_seconds",
        "pending_timeout_seconds",
        "resources",
        "pod_template",
        "step_operator_ref",
        "depends_on",
        "cache",
    }
)
"""Fields of a step that what comes of it does not depend on."""


def is_itself(name: str, spec: RunSpec) -> Problem | None:
    """Return what is wrong with a run that names itself as the earlier one."""
    if spec.rerun_of is None or spec.rerun_of.name != name:
        return None
    return Problem("spec.rerunOf.name", "it is this run; name an earlier one")


def problem_of(spec: RunSpec, earlier: RunSpec) -> Problem | None:
    """Return why a run cannot take over anything from an earlier one, or None."""
    if spec.rerun_of is None:
        return None
    name, begins_with = spec.rerun_of.name, spec.rerun_of.from_
    if begins_with != FROM_FAILED and all(begins_with != step.name for step in spec.steps):
        names = ", ".join(step.name for step in spec.steps[:10])
        return Problem("spec.rerunOf.from", f"there is no step {begins_with}; say Failed, or name one of: {names}")
    if spec.parameter_values != earlier.parameter_values:
        return Problem("spec.parameters", f"they are not those of run {name}, whose steps are taken over; use the same")
    return None


def taken_over(maker: InstanceMaker, earlier: InstanceMaker, status: PipelineRunStatus) -> Mapping[str, StepStatus]:
    """Return the steps that need not run, as the status has them then."""
    spec = maker.graph.spec
    if spec.rerun_of is None:
        return {}
    run_again = _run_again(maker.graph, earlier.graph, spec.rerun_of.from_)
    ended = {step.name: step for step in status.steps}
    before = earlier.steps(ended)
    taken: dict[str, StepStatus] = {}
    while True:
        steps = maker.steps(taken)
        new = {
            name: _taken_over(ended[name], spec.rerun_of.name)
            for name in steps.main
            if name not in taken and name in ended and steps.written(name) not in run_again
            if ended[name].state in SUCCEEDED and item_of(steps.by_name[name]) == item_of(before.by_name[name])
            if _needs_nothing_that_runs(steps, name, taken, ended)
        }
        if not new:
            return taken
        taken |= new


def _run_again(graph: StepGraph, earlier: StepGraph, begins_with: str) -> frozenset[str]:
    """Return the steps that run again whatever became of them, as they are written, and all that comes after them."""
    again = set(graph.finally_steps)
    for name in graph.order:
        step, other = graph.steps[name], earlier.steps.get(name)
        alike = other is not None and _what_it_does(step) == _what_it_does(other)
        if name == begins_with or not alike or graph.needs[name] & again:
            again.add(name)
    return frozenset(again)


def _needs_nothing_that_runs(
    steps: RunSteps, name: str, taken: Mapping[str, StepStatus], ended: Mapping[str, StepStatus]
) -> bool:
    """Return whether all that a step needs is taken over, or was skipped and will be again."""
    instances = [one for needed in steps.needs(name) for one in steps.instances.get(needed, (needed,))]
    return all(one in taken or (one in ended and ended[one].reason in SKIPPED_ON_PURPOSE) for one in instances)


def _what_it_does(step: Step) -> JsonObject:
    """Return what of a step matters to what comes of it."""
    template = step.pod_template
    registration = {"outputs": {"artifacts": {"__all__": {"register_"}}}}
    return {
        **step.model_dump(exclude={**dict.fromkeys(HOW_IT_RUNS, True), **registration}),
        "environment": (template.env, template.env_from) if template is not None else (None, None),
    }


def _taken_over(step: StepStatus, run: str) -> StepStatus:
    if step.reason == NO_ITEMS:
        return step
    return StepStatus(
        name=step.name,
        item=step.item,
        state="Succeeded",
        reason=TAKEN_OVER,
        message=f"It was taken over from run {run}.",
        artifacts=step.artifacts,
        results=step.results,
    )
