"""The kind Pipeline: a DAG of container steps with parameters, that runs are made from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import GROUP, Model, Rule, list_map, rules
from cairn.api.conditions import Condition
from cairn.api.pipelinerun import (
    DEFAULT_FAILURE_POLICY,
    FAILURE_POLICY,
    MOST_PARAMETERS,
    STEPS,
    FailurePolicy,
    ParameterName,
    RunSettings,
    Steps,
)
from cairn.api.pod_template import NOT_OF_CAIRN, AnnotationMap, LabelMap

REVISION_LABEL = f"{GROUP}/pipeline-revision"
"""Of which version of its Pipeline a run was made: the beginning of that version's digest."""

GENERATION_ANNOTATION = f"{GROUP}/pipeline-generation"
"""For which generation of its Pipeline a run was started."""

ParameterType = Literal["String", "Integer", "Number", "Boolean"]
RunPolicy = Literal["OnChange", "Manual"]

INTEGER = "^[-+]?[0-9]+$"
NUMBER = "^[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?$"
BOOLEANS = ("true", "false")
LONGEST_CHOICE = 256

Choice = Annotated[str, Field(max_length=LONGEST_CHOICE)]


def _is_of_type(value: str) -> str:
    """Return the CEL expression that a text is a value of the parameter's type."""
    return (
        f"(self.type == 'Integer' ? {value}.matches('{INTEGER}') : self.type == 'Number' ? {value}.matches('{NUMBER}') : "
        f"self.type == 'Boolean' ? {value} == 'true' || {value} == 'false' : true)"
    )


class ParameterDeclaration(Model):
    """A parameter of the pipeline."""

    name: ParameterName = Field(
        description="Name of the parameter. Steps see it as `$(params.<name>)` and as `CAIRN_PARAM_<NAME>`."
    )
    type: ParameterType = Field(
        default="String",
        description='What its values are. They are written as strings: Integer such as "-3", Number such as "0.5" or '
        '"1e-4", Boolean "true" or "false".',
    )
    default: str | None = Field(
        default=None,
        description="Its value where a run gives none. Left out, each run has to give one.",
        max_length=4096,
    )
    enum: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="All values that it may have.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    description: str | None = Field(default=None, description="What it is for.", max_length=1024)

    model_config = {
        "json_schema_extra": rules(
            Rule(
                f"!has(self.default) || {_is_of_type('self.default')}",
                'default must be a value of the parameter\'s type: Integer such as "3", Number such as "0.5", Boolean '
                '"true" or "false"',
                field="default",
            ),
            Rule(
                f"!has(self.enum) || self.enum.all(choice, {_is_of_type('choice')})",
                "enum must hold values of the parameter's type",
                field="enum",
            ),
            Rule(
                "!has(self.default) || !has(self.enum) || self.default in self.enum",
                "default must be one of enum",
                field="default",
            ),
        )
    }


class RunMetadata(Model):
    """Labels and annotations."""

    labels: LabelMap | None = Field(
        default=None,
        description="Labels of the run. Keys of `cairn.dev/` and `app.kubernetes.io/managed-by` are Cairn's own.",
        json_schema_extra=NOT_OF_CAIRN,
    )
    annotations: AnnotationMap | None = Field(default=None, description="Annotations of the run.")


class PipelineDefinition(RunSettings):
    """What a run of the pipeline does."""

    failure_policy: FailurePolicy = Field(default=DEFAULT_FAILURE_POLICY, description=FAILURE_POLICY)
    steps: Steps = Field(description=STEPS, json_schema_extra=list_map("name"))


class RunTemplate(Model):
    """The runs of the pipeline."""

    metadata: RunMetadata | None = Field(
        default=None, description="What the runs are labelled with that the operator makes."
    )
    spec: PipelineDefinition = Field(description="What they do.")


class PipelineSpec(Model):
    """What a pipeline does, and what starts it."""

    description: str | None = Field(default=None, description="What the pipeline is for.", max_length=1024)
    parameters: Annotated[tuple[ParameterDeclaration, ...], Field(max_length=MOST_PARAMETERS)] | None = Field(
        default=None,
        description="Parameters of the pipeline. A run may give these and no others.",
        json_schema_extra=list_map("name"),
    )
    run_policy: RunPolicy = Field(
        default="Manual",
        description="What starts a run. Manual: a PipelineRun with `pipelineRef`. OnChange: also each change of `parameters` or "
        "`template`, such as a commit that Argo CD applies, and the Pipeline's creation. Its status says which version was run "
        "last; that one is not run again, whatever becomes of the run.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = Field(
        default=None,
        description="How long after its end a run is deleted that was started by a change; its artifacts stay. Left out, it is "
        "kept.",
    )
    template: RunTemplate = Field(description="What runs of the pipeline are made from.")

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "self.runPolicy != 'OnChange' || !has(self.parameters) || self.parameters.all(p, has(p.default))",
                "with runPolicy OnChange every parameter needs a default, since nobody is asked for values",
                field="parameters",
            )
        )
    }


class LastRun(Model):
    """The run that was started last."""

    name: str = Field(description="Its name.", max_length=253)
    revision: str = Field(
        description="Beginning of the digest of `parameters` and `template`, as they were when it was made.",
        max_length=64,
    )
    generation: int = Field(default=0, description="The generation of the Pipeline that it was started for.", ge=0)
    reason: str | None = Field(
        default=None,
        description="How it stands: the reason of its condition `Succeeded`, such as Running, Completed or StepFailed.",
        max_length=128,
    )


class PipelineStatus(Model):
    """What the operator found."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="`Ready`: whether runs can be made from the pipeline. `LastRunSucceeded`, where changes start runs: how the "
        "last one ended, Unknown while it runs. `Stalled`, while only another spec can mend it.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: int | None = Field(
        default=None,
        description="The generation of the spec that the status is about; 0 until the operator has seen it.",
        ge=0,
    )
    revision: str | None = Field(
        default=None,
        description="Beginning of the digest of `parameters` and `template`, the same for the same pipeline.",
        max_length=64,
    )
    last_run: LastRun | None = Field(default=None, description="The run that a change has started last.")
