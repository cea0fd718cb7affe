"""What is wrong with a Pipeline. Pure."""

from __future__ import annotations

from pydantic import ValidationError

from cairn.api.base import JsonObject, first_problem
from cairn.api.pipeline import PipelineSpec
from cairn.api.pipelinerun import RunSpec
from cairn.runs.pipeline_parameters import parameter_problems, stand_ins
from cairn.runs.pipeline_runs import spec_of_run
from cairn.runs.problem import Problem, all_told
from cairn.runs.validation import problems_of


class InvalidPipelineError(ValueError):
    """No run can be made from a Pipeline; the message says why."""


def valid_pipeline(body: JsonObject) -> PipelineSpec:
    """Return what a Pipeline says.

    Raises:
        InvalidPipelineError: no run can be made from it.
    """
    try:
        spec = PipelineSpec.model_validate(body["spec"])
    except ValidationError as error:
        raise InvalidPipelineError(first_problem(error)) from error
    problem = problem_of_pipeline(body["metadata"]["name"], spec)
    if problem is not None:
        raise InvalidPipelineError(problem)
    return spec


def problem_of_pipeline(name: str, spec: PipelineSpec) -> str | None:
    """Return what is wrong with every run of a Pipeline, whatever Stack it runs on and whatever values it gives, or None."""
    declared = spec.parameters or ()
    values = stand_ins(declared)
    wrong = [*parameter_problems(declared, values, name)]
    if wrong:
        return all_told([Problem(problem.field, f"the default {problem.message}") for problem in wrong])
    try:
        run = RunSpec.model_validate(spec_of_run(name, spec, values))
    except ValidationError as error:
        return first_problem(error)
    return all_told([Problem(_in_pipeline(problem.field), problem.message) for problem in problems_of(run, None)])


def _in_pipeline(field: str) -> str:
    """Return where a field of a run's spec is written in a Pipeline."""
    return field if field.startswith("spec.parameters") else field.replace("spec.", "spec.template.spec.", 1)
