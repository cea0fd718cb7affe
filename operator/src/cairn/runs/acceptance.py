"""What is wrong with a run as a whole, before it starts. Pure."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.runs.problem import all_told
from cairn.runs.registration_validation import decided_before_start
from cairn.runs.rerun import is_itself
from cairn.runs.validation import problems_of
from cairn.stacks.resolution import UsableStack


def problem_of_spec(body: JsonObject, spec: RunSpec, stack: UsableStack) -> str | None:
    """Return what is wrong with a run on a stack, or None."""
    of_the_body = is_itself(body["metadata"]["name"], spec), decided_before_start(body, spec)
    return all_told((*(problem for problem in of_the_body if problem is not None), *problems_of(spec, stack)))
