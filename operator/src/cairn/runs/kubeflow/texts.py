"""The texts of a step for Kubeflow Pipelines: what references stand for is known when it compiles, or a placeholder. Pure.

Placeholders are replaced in commands and arguments only, never in the environment (as was recorded).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cairn.api.base import JsonObject
from cairn.runs.references import Reference, Values, replace

RESULTS = "results"
"""The output parameter that holds all results of a step, a JSON object."""
STATUS = "cairn.status"
"""The input parameter of steps of `finally` that tells how the others have ended; no parameter of a run has a dot."""
PLACEHOLDER = "{{$"
"""How all that Kubeflow Pipelines replaces begins."""


def input_parameter(name: str) -> str:
    """Return the placeholder of an input parameter."""
    return f"{{{{$.inputs.parameters['{name}']}}}}"


@dataclass
class TaskParameters:
    """The input parameters that a task turns out to need, by name."""

    values: Values
    run_in_pipeline: frozenset[str]
    """Steps whose results come from tasks of the same pipeline; those of others are known."""
    specs: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])

    def for_command(self, text: str) -> str:
        """Return a text of a command with placeholders for parameters and results."""
        return replace(text, self._placeholder).replace("{{$$", PLACEHOLDER)

    def for_environment(self, text: str) -> str:
        """Return a variable's value; raises KeyError where it is known at run time only."""
        return replace(text, self.values.value_of)

    def result(self, step: str, result: str) -> str:
        """Return the name of the input parameter that has a result of another task."""
        name = f"{step}.{result}"
        self.specs[name] = {
            "taskOutputParameter": {"producerTask": step, "outputParameterKey": RESULTS},
            "parameterExpressionSelector": f'parseJson(string_value)["{result}"]',
        }
        return name

    def parameter(self, name: str) -> str:
        """Return the name of the input parameter that has a parameter of the run."""
        self.specs[name] = {"componentInputParameter": name}
        return name

    def status(self) -> None:
        """Have the task told how the steps that are not of `finally` have ended."""
        self.specs[STATUS] = {"componentInputParameter": STATUS}

    def comes_at_run_time(self, reference: Reference) -> bool:
        """Return whether a reference is to what a task of the pipeline writes."""
        return reference.result is not None and reference.result[0] in self.run_in_pipeline

    def _placeholder(self, reference: Reference) -> str:
        if reference.parameter is not None:
            return input_parameter(self.parameter(reference.parameter))
        if self.comes_at_run_time(reference) and reference.result is not None:
            return input_parameter(self.result(*reference.result))
        return self.values.value_of(reference)


def string_parameters(specs: Mapping[str, JsonObject]) -> JsonObject:
    """Return the definitions of input parameters, all of them strings."""
    return {name: {"parameterType": "STRING"} for name in specs}
