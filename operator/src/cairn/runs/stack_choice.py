"""Which stack a run uses."""

from __future__ import annotations

from dataclasses import dataclass

from cairn.api.deletion import is_being_deleted
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import PipelineRunStatus
from cairn.api.stack import BUILT_IN_STACK
from cairn.clients.cluster import Cluster
from cairn.runs.validation import problems_of
from cairn.stacks.default_stack import default_stack
from cairn.stacks.resolution import UsableStack, built_in_stack, resolve_stack


@dataclass(frozen=True)
class Choice:
    """The stack to use, or why there is none."""

    name: str
    stack: UsableStack | None
    message: str = ""


def choose_stack(cluster: Cluster, namespace: str, spec: RunSpec, status: PipelineRunStatus) -> Choice:
    """Return the named stack; else, once started, the one it started on; else the namespace's default; else the built-in."""
    built_in = built_in_stack(namespace)
    if spec.stack_ref is not None:
        name = spec.stack_ref.name
    elif status.stack is not None and status.stack.built_in:
        return Choice(BUILT_IN_STACK, built_in)
    elif status.stack is not None:
        name = status.stack.name
    else:
        default = default_stack(cluster.stacks.in_namespace(namespace))
        if default is None:
            return Choice(BUILT_IN_STACK, built_in)
        name = default["metadata"]["name"]
    body = cluster.stacks.get((namespace, name))
    if body is None:
        return Choice(
            name,
            None,
            f"There is no Stack {namespace}/{name}; create it, or start a run with another stackRef.",
        )
    if is_being_deleted(body) and status.start_time is None:
        return Choice(name, None, f"Stack {namespace}/{name} is being deleted; start a run with another stackRef.")
    resolution = resolve_stack(cluster, (namespace, name), body)
    if resolution.stack is None:
        return Choice(name, None, f"Stack {namespace}/{name} is not Ready: {resolution.message}")
    return Choice(name, resolution.stack)


def still_fitting(choice: Choice, spec: RunSpec, status: PipelineRunStatus) -> Choice:
    """Return the choice, or none where the stack has changed since the run's start and the run cannot use it any more."""
    if choice.stack is None or status.stack is None or status.stack.digest == choice.stack.digest:
        return choice
    problems = problems_of(spec, choice.stack)
    if problems:
        return Choice(choice.name, None, f"Stack {choice.name} has changed and does not fit the run: {problems[0]}")
    return choice
