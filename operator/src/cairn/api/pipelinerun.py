"""The kind PipelineRun: one execution of a DAG of container steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import (
    LabelName,
    LocalRef,
    Model,
    ObjectName,
    Rule,
    consists_of,
    list_map,
    rules,
)
from cairn.api.pod_template import PodTemplate
from cairn.api.step import Step
from cairn.api.tag import RECORD_NAME, Tag

FROM_FAILED_OR_STEP = r"^(Failed|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"
MOST_STEPS = 500
MOST_FINALLY = 20
FailurePolicy = Literal["ContinueOnFailure", "StopOnFailure", "FailFast"]
Cancel = Literal["Graceful", "Immediate"]

ParameterName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-zA-Z][-_a-zA-Z0-9]*$",
        json_schema_extra=rules(
            Rule(
                "self.matches('^[a-zA-Z][-_a-zA-Z0-9]*$')",
                "must be letters, digits, - and _, a letter first, such as learning-rate",
            )
        ),
    ),
]


class Parameter(Model):
    """A named value that the steps of the run can use."""

    name: ParameterName = Field(
        description="Name of the parameter. Steps see it as `$(params.<name>)` and as `CAIRN_PARAM_<NAME>`."
    )
    value: str = Field(description="Its value, always a string: write numbers in quotes.", max_length=4096)


class GitSource(Model):
    """Where the pipeline's code is kept."""

    repository: str = Field(description="URL of the repository.", min_length=1, max_length=1024)
    revision: str = Field(description="The commit.", min_length=1, max_length=128)
    branch: str | None = Field(default=None, description="The branch that it was taken from.", max_length=256)


class Source(Model):
    """Where the run's code comes from."""

    git: GitSource = Field(description="A Git repository. It is recorded, never fetched.")


class Tracking(Model):
    """How the run is recorded."""

    disabled: bool = Field(default=False, description="Whether the run is not recorded.")
    tags: Annotated[tuple[Tag, ...], Field(max_length=32)] | None = Field(
        default=None, description="Tags of the run's record.", json_schema_extra=list_map("name")
    )


class RerunOf(Model):
    """An earlier run, whose steps are taken over as far as they succeeded."""

    name: ObjectName = Field(description="Name of the earlier run, which has ended, in the same namespace.")
    from_: Annotated[str, Field(min_length=1, max_length=63, pattern=FROM_FAILED_OR_STEP)] = Field(
        default="Failed",
        alias="from",
        description="Where to begin. Failed: with what did not succeed. The name of a step: with that one, whatever became of it. "
        "All that needs those runs again, too.",
    )


IMMUTABLE_IF_GIVEN = (
    "stackRef",
    "parameters",
    "timeoutSeconds",
    "maxParallelSteps",
    "source",
    "podTemplate",
    "finally",
    "rerunOf",
    "experiment",
    "tracking",
)


class PipelineRunSpec(Model):
    """What to run."""

    pipeline: LabelName = Field(description="Name of the pipeline. It groups runs.")
    stack_ref: LocalRef | None = Field(
        default=None,
        description="Stack to run on. Left out: the Stack of the namespace with the annotation "
        'cairn.dev/default-stack: "true", else the built-in stack `default` (local orchestrator, local artifact '
        "store).",
    )
    experiment: Annotated[str, Field(min_length=1, max_length=256, pattern=f"^[{RECORD_NAME}]*$")] | None = Field(
        default=None,
        description="Experiment that the run is recorded in, by the stack's experiment tracker. Left out: the pipeline's name.",
        json_schema_extra=rules(
            consists_of(RECORD_NAME, "must be letters, digits, spaces, -, _, . and /, such as wine/baseline")
        ),
    )
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=100)] | None = Field(
        default=None, description="Named values that the steps can use.", json_schema_extra=list_map("name")
    )
    failure_policy: FailurePolicy = Field(
        default="ContinueOnFailure",
        description="What becomes of other steps once one has failed. ContinueOnFailure: those that do not need it go on. "
        "StopOnFailure: no other attempt starts; what runs may finish. FailFast: what runs is stopped, too.",
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="How long the run may take, in seconds from its start. After that its steps are stopped and it has "
        "failed with TimedOut. Time in which the run is suspended counts.",
    )
    max_parallel_steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="How many steps may run at the same time. The orchestrator's own limit holds too."
    )
    suspend: bool = Field(
        default=False,
        description="While true, no further step starts; what runs goes on, and so does the run's `timeoutSeconds`.",
    )
    cancel: Cancel | None = Field(
        default=None,
        description="Ends the run. Graceful: running steps get the grace period of their pods, what they have published and "
        "their logs are kept. Immediate: their pods are deleted, and the run has ended at once.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = Field(
        default=None,
        description="How long after its end the run is deleted, and its Jobs with it; its artifacts stay. The "
        "stack's history limits may delete it before. It can be changed at any time.",
    )
    rerun_of: RerunOf | None = Field(
        default=None,
        description="Takes over steps of an earlier run instead of running them: those that succeeded there, are written alike in "
        "both runs, and need nothing that runs again. The parameters must be the same.",
    )
    tracking: Tracking | None = Field(
        default=None, description="How the run is recorded by the stack's experiment tracker, if it has one."
    )
    source: Source | None = Field(default=None, description="Where the run's code comes from, for the record.")
    pod_template: PodTemplate | None = Field(default=None, description="Additions to the pod of every step.")
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)] = Field(
        description="The steps. Their order follows from `dependsOn` and `inputs`.",
        json_schema_extra=list_map("name"),
    )
    finally_: Annotated[tuple[Step, ...], Field(max_length=MOST_FINALLY)] | None = Field(
        default=None,
        alias="finally",
        description="Steps that run once all others have ended, however they have: after a failure, a graceful cancel and the "
        "run's timeout too, but not after an immediate cancel. `when` tells them apart. One that fails fails the run.",
        json_schema_extra=list_map("name"),
    )

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps, those of `finally` last."""
        return (*self.steps, *(self.finally_ or ()))

    @property
    def parameter_values(self) -> Mapping[str, str]:
        """The value of each parameter."""
        return {parameter.name: parameter.value for parameter in self.parameters or ()}

    model_config = {
        "json_schema_extra": rules(
            *(
                Rule(
                    f"has(self.{field}) == has(oldSelf.{field}) "
                    f"&& (!has(self.{field}) || self.{field} == oldSelf.{field})",
                    f"{field} is immutable: create a new PipelineRun instead",
                    field=field,
                )
                for field in IMMUTABLE_IF_GIVEN
            ),
            *(
                Rule(
                    f"self.{field} == oldSelf.{field}",
                    f"{field} is immutable: create a new PipelineRun instead",
                    field=field,
                )
                for field in ("pipeline", "failurePolicy", "steps")
            ),
            Rule(
                "!has(oldSelf.cancel) || (has(self.cancel) && (self.cancel == oldSelf.cancel || self.cancel == 'Immediate'))",
                "cancel cannot be taken back, only changed from Graceful to Immediate: create a new PipelineRun instead",
                field="cancel",
            ),
        )
    }
