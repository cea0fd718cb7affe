"""Compiles runs, for the SDK to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.components.step_access import StepAccess
from cairn.runs.graph import outputs_of, results_of
from cairn.runs.instances import RunSteps
from cairn.runs.kubeflow.compiler import Pipeline, compile_run
from cairn.runs.kubeflow.objections import objections
from cairn.runs.pod import PodContext
from cairn.runs.pod_context import pod_context_of
from cairn.runs.problem import Problem
from cairn.runs.states import SUCCEEDED
from cairn.stacks.resolution import UsableStack
from tests.unit.builders import TRANSFER, kubernetes_stack, run_body, run_steps

STACK = kubernetes_stack()


def objected(spec: RunSpec, stack: UsableStack = STACK) -> Sequence[Problem]:
    """Return what speaks against a run."""
    steps = run_steps(spec)
    return objections(_context(steps, (), stack), steps)


def compiled(
    spec: RunSpec,
    *,
    cached: frozenset[str] = frozenset(),
    access: StepAccess | None = None,
    stack: UsableStack = STACK,
) -> Pipeline:
    """Return the pipeline of a run; `cached` are the steps that are left out, and their instances.

    `access` is what every step needs to record.
    """
    steps = run_steps(spec)
    states = [_status(steps, name, is_cached=name in cached) for name in steps.by_name]
    names = [state.name for state in states if state.state not in SUCCEEDED]
    in_order = [name for name in steps.order if name in names]
    return compile_run(
        _context(steps, states, stack), steps, in_order, dict.fromkeys(names, access) if access is not None else {}
    )


def _context(steps: RunSteps, states: Sequence[StepStatus], stack: UsableStack) -> PodContext:
    body = run_body(steps.spec, uid="uid-of-wine-1")
    return pod_context_of(body, steps, states, stack, TRANSFER)


def _status(steps: RunSteps, name: str, *, is_cached: bool) -> StepStatus:
    """Return the status of a step when its run is submitted."""
    if name in steps.without_items:
        return StepStatus(name=name, state="Succeeded")
    if not is_cached:
        return StepStatus(name=name, state="Pending")
    step = steps.by_name[name]
    fields: dict[str, Any] = {
        "results": [{"name": result, "value": "0.5"} for result in results_of(step)],
        "artifacts": [
            {"name": output.name, "uri": f"s3://ml/{name}/{output.name}", "digest": "sha256:abc", "sizeBytes": 3}
            for output in outputs_of(step)
        ],
    }
    return StepStatus.model_validate({"name": name, "state": "Cached", **fields})
