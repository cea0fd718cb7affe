"""What is wrong with a run as a whole, before it starts. Pure."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import PipelineRunSpec
from cairn.runs.registration_validation import decided_before_start
from cairn.runs.rerun import is_itself
from cairn.runs.validation import problems_of
from cairn.stacks.resolution import UsableStack

PROBLEMS_TOLD = 10


def problem_of_spec(body: JsonObject, spec: PipelineRunSpec, stack: UsableStack) -> str | None:
    """Return what is wrong with a run on a stack, or None."""
    of_the_body = is_itself(body["metadata"]["name"], spec), decided_before_start(body, spec)
    problems = (*(problem for problem in of_the_body if problem is not None), *problems_of(spec, stack))
    if not problems:
        return None
    told = "; ".join(str(problem) for problem in problems[:PROBLEMS_TOLD])
    others = len(problems) - PROBLEMS_TOLD
    return f"{told} ({_and_more(others)})" if others > 0 else told


def _and_more(problems: int) -> str:
    return "and 1 more problem" if problems == 1 else f"and {problems} more problems"
