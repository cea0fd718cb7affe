"""The kind PipelineRun: one execution of a DAG of container steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import (
    JsonObject,
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
MOST_PARAMETERS = 100
FailurePolicy = Literal["ContinueOnFailure", "StopOnFailure", "FailFast"]
DEFAULT_FAILURE_POLICY: FailurePolicy = "ContinueOnFailure"
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


Steps = Annotated[tuple[Step, ...], Field(min_length=1, max_length=MOST_STEPS)]
Finally = Annotated[tuple[Step, ...], Field(max_length=MOST_FINALLY)]
STEPS = "The steps. Their order follows from `dependsOn` and `inputs`."
FAILURE_POLICY = (
    "What becomes of other steps once one has failed. ContinueOnFailure: those that do not need it go on. "
    "StopOnFailure: no other attempt starts; what runs may finish. FailFast: what runs is stopped, too."
)


class RunSettings(Model):
    """What a run may say for itself, and a Pipeline for its runs."""

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
    timeout_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="How long the run may take, in seconds from its start. After that its steps are stopped and it has "
        "failed with TimedOut. Time in which the run is suspended counts.",
    )
    max_parallel_steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="How many steps may run at the same time. The orchestrator's own limit holds too."
    )
    tracking: Tracking | None = Field(
        default=None, description="How the run is recorded by the stack's experiment tracker, if it has one."
    )
    source: Source | None = Field(default=None, description="Where the run's code comes from, for the record.")
    pod_template: PodTemplate | None = Field(default=None, description="Additions to the pod of every step.")
    finally_: Annotated[tuple[Step, ...], Field(max_length=MOST_FINALLY)] | None = Field(
        default=None,
        alias="finally",
        description="Steps that run once all others have ended, however they have: after a failure, a graceful cancel and the "
        "run's timeout too, but not after an immediate cancel. `when` tells them apart. One that fails fails the run.",
        json_schema_extra=list_map("name"),
    )


class RunRequest(RunSettings):
    """What only a run says."""

    parameters: Annotated[tuple[Parameter, ...], Field(max_length=MOST_PARAMETERS)] | None = Field(
        default=None, description="Named values that the steps can use.", json_schema_extra=list_map("name")
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
        "stack's history limits may delete it before. A run that Argo CD, Flux or Helm has applied stays, as they would make it "
        "anew and have it run again: it goes when it goes from Git. It can be changed at any time.",
    )
    rerun_of: RerunOf | None = Field(
        default=None,
        description="Takes over steps of an earlier run instead of running them: those that succeeded there, are written alike in "
        "both runs, and need nothing that runs again. The parameters must be the same.",
    )


class RunSpec(RunRequest):
    """What to run, all of it: what a PipelineRun says, and what it leaves to its Pipeline."""

    pipeline: LabelName = Field(description="Name of the pipeline.")
    failure_policy: FailurePolicy = Field(default=DEFAULT_FAILURE_POLICY, description=FAILURE_POLICY)
    steps: Steps = Field(description=STEPS, json_schema_extra=list_map("name"))

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps, those of `finally` last."""
        return (*self.steps, *(self.finally_ or ()))

    @property
    def parameter_values(self) -> Mapping[str, str]:
        """The value of each parameter."""
        return {parameter.name: parameter.value for parameter in self.parameters or ()}


IMMUTABLE = (
    "pipeline",
    "pipelineRef",
    "stackRef",
    "parameters",
    "timeoutSeconds",
    "maxParallelSteps",
    "source",
    "podTemplate",
    "steps",
    "finally",
    "rerunOf",
    "experiment",
    "tracking",
)


def _failure_policy(spec: str) -> str:
    """Return the CEL expression of the policy that a spec stands for; writing out the default changes nothing."""
    left_out = f"has({spec}.pipelineRef) ? 'of the Pipeline' : '{DEFAULT_FAILURE_POLICY}'"
    return f"(has({spec}.failurePolicy) ? {spec}.failurePolicy : {left_out})"


class PipelineRunSpec(RunRequest):
    """What to run."""

    pipeline: LabelName | None = Field(
        default=None, description="Name of the pipeline. It groups runs. It comes with `steps`."
    )
    pipeline_ref: LocalRef | None = Field(
        default=None,
        description="Pipeline whose steps to run, as it is when the run starts; what becomes of it later does not change the run. "
        "What this spec says besides replaces what the Pipeline says. Its name is the pipeline's.",
    )
    failure_policy: FailurePolicy | None = Field(
        default=None,
        description=f"{FAILURE_POLICY} Left out: what the Pipeline says, else {DEFAULT_FAILURE_POLICY}.",
    )
    steps: Steps | None = Field(
        default=None, description=f"{STEPS} Left out with `pipelineRef`.", json_schema_extra=list_map("name")
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.steps) != has(self.pipelineRef)",
                "give either steps, or pipelineRef with the name of a Pipeline, whose steps are run",
                field="steps",
            ),
            Rule(
                "has(self.pipeline) != has(self.pipelineRef)",
                "give either pipeline, a name for the steps that are written here, or pipelineRef",
                field="pipeline",
            ),
            Rule(
                "!has(self.pipelineRef) || !has(self.finally)",
                "with pipelineRef, finally is the Pipeline's: leave it out",
                field="finally",
            ),
            Rule(
                f"{_failure_policy('self')} == {_failure_policy('oldSelf')}",
                "failurePolicy is immutable: create a new PipelineRun instead",
                field="failurePolicy",
            ),
            *(
                Rule(
                    f"has(self.{field}) == has(oldSelf.{field}) "
                    f"&& (!has(self.{field}) || self.{field} == oldSelf.{field})",
                    f"{field} is immutable: create a new PipelineRun instead",
                    field=field,
                )
                for field in IMMUTABLE
            ),
            Rule(
                "!has(oldSelf.cancel) || (has(self.cancel) && (self.cancel == oldSelf.cancel || self.cancel == 'Immediate'))",
                "cancel cannot be taken back, only changed from Graceful to Immediate: create a new PipelineRun instead",
                field="cancel",
            ),
        )
    }


def pipeline_of(run: JsonObject) -> str:
    """Return the name of a run's pipeline, whether its steps are written in it or in a Pipeline."""
    spec = run["spec"]
    return str(spec["pipeline"] if "pipeline" in spec else spec["pipelineRef"]["name"])
