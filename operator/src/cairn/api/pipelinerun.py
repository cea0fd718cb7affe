"""The kind PipelineRun: one execution of a DAG of container steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cairn.api.base import (
    DNS_LABEL,
    IS_LABEL,
    LIST_ATOMIC,
    LIST_SET,
    LabelName,
    LocalRef,
    Model,
    Rule,
    Timestamp,
    list_map,
    rules,
)
from cairn.api.conditions import Condition
from cairn.api.pod_template import EnvVar, PodTemplate, ResourceRequirements

ArtifactType = Literal["Dataset", "Model", "Metrics", "Report", "File"]
StepState = Literal["Pending", "Queued", "Running", "Succeeded", "Failed", "Skipped"]

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
ResultName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-zA-Z_][-_a-zA-Z0-9]*$",
        json_schema_extra=rules(
            Rule(
                "self.matches('^[a-zA-Z_][-_a-zA-Z0-9]*$')",
                "must be letters, digits, - and _, a letter or _ first, such as accuracy",
            )
        ),
    ),
]
StepName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=DNS_LABEL,
        json_schema_extra=rules(
            IS_LABEL,
            Rule(
                "!self.startsWith('cairn-')",
                "names that begin with cairn- are Cairn's own: choose another name",
            ),
        ),
    ),
]
ArtifactPath = Annotated[
    str,
    Field(
        min_length=4,
        max_length=256,
        pattern=r"^/[^/]+(/[^/]+)+$",
        json_schema_extra=rules(
            Rule(
                "self.startsWith('/') && self.lastIndexOf('/') > 0 && !self.endsWith('/') && !self.contains('/../') && "
                "!self.contains('/./') && !self.endsWith('/..') && !self.endsWith('/.') && "
                "!self.startsWith('/proc/') && !self.startsWith('/sys/') && !self.startsWith('/dev/')",
                "must be an absolute path without . or .., at least two levels deep and not under /proc, /sys or "
                "/dev, such as /data/train.csv",
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


class InputArtifact(Model):
    """A file or directory that the step reads."""

    name: LabelName = Field(description="Name of the input, unique within the step.")
    from_: Annotated[
        str | None,
        Field(
            min_length=3,
            max_length=127,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\.[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            json_schema_extra=rules(
                Rule(
                    "self.matches('^[-a-z0-9]+[.][-a-z0-9]+$')",
                    "must be a step and one of its output artifacts, such as prepare.train-data",
                )
            ),
        ),
    ] = Field(
        default=None,
        alias="from",
        description="An output of another step, as `step.artifact`. The step waits for that one.",
    )
    uri: Annotated[
        str | None,
        Field(
            min_length=6,
            max_length=1024,
            pattern=r"^s3://[^/]+/.+$",
            json_schema_extra=rules(
                Rule(
                    "self.startsWith('s3://')",
                    "must be s3://, a bucket and a key, such as s3://ml-artifacts/data/train.csv",
                )
            ),
        ),
    ] = Field(
        default=None,
        description="An object, or everything below a prefix that ends in a slash, as `s3://bucket/key`: of the stack's "
        "bucket, or of another one of that server that the stack's credentials may read.",
    )
    path: ArtifactPath = Field(description="Where the step finds it, read-only: an absolute path of its container.")

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.from) != has(self.uri)",
                "set exactly one of from (an output of another step) and uri",
            )
        )
    }


class Inputs(Model):
    """What the step reads."""

    artifacts: Annotated[tuple[InputArtifact, ...], Field(max_length=32)] | None = Field(
        default=None,
        description="Files and directories to put into the container.",
        json_schema_extra=list_map("name"),
    )


class OutputArtifact(Model):
    """A file or directory that the step writes."""

    name: LabelName = Field(description="Name of the output, unique within the step.")
    path: ArtifactPath = Field(
        description="Where the step writes it: an absolute path of its container. The directory that it lies in is an "
        "empty volume at the step's start."
    )
    type: ArtifactType = Field(default="File", description="What it is: Dataset, Model, Metrics, Report or File.")


class Outputs(Model):
    """What the step writes."""

    artifacts: Annotated[tuple[OutputArtifact, ...], Field(max_length=32)] | None = Field(
        default=None,
        description="Files and directories to keep in the artifact store. One that is missing fails the step.",
        json_schema_extra=list_map("name"),
    )
    results: Annotated[tuple[ResultName, ...], Field(max_length=32)] | None = Field(
        default=None,
        description="Names of small values that the step writes as one flat JSON object, of at most 4 KiB, to the "
        "file that `CAIRN_RESULTS` names.",
        json_schema_extra=LIST_SET,
    )


class Step(Model):
    """One container of the pipeline."""

    name: StepName = Field(description="Name of the step, unique within the run: lower-case letters, digits and -.")
    image: str = Field(description="Container image. Give it a tag or, better, a digest.", min_length=1, max_length=512)
    command: Annotated[tuple[Annotated[str, Field(max_length=32768)], ...], Field(max_length=256)] | None = Field(
        default=None,
        description="The program and its first arguments, in place of the image's entrypoint. `$(params.x)`, "
        "`$(run.name)`, `$(run.uid)` and `$(steps.s.results.r)` are replaced; `$$(` is a literal `$(`.",
        json_schema_extra=LIST_ATOMIC,
    )
    args: Annotated[tuple[Annotated[str, Field(max_length=32768)], ...], Field(max_length=256)] | None = Field(
        default=None,
        description="Arguments of the command, or of the image's entrypoint where no command is given. Replacements "
        "as in `command`.",
        json_schema_extra=LIST_ATOMIC,
    )
    script: str | None = Field(
        default=None,
        description="A program written inline, handed to the interpreter as its last argument. Nothing is replaced in "
        "it: it reads parameters from `CAIRN_PARAM_<NAME>`, where <NAME> is in upper case with _ for -.",
        min_length=1,
        max_length=65536,
    )
    interpreter: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(min_length=1, max_length=16)] = (
        Field(
            default=("python", "-c"),
            description="What runs the script, such as `[sh, -c]`; unless given, `[python, -c]`.",
            json_schema_extra=LIST_ATOMIC,
        )
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=256)] | None = Field(
        default=None, description="Environment variables of the step's container.", json_schema_extra=list_map("name")
    )
    depends_on: Annotated[tuple[LabelName, ...], Field(max_length=100)] | None = Field(
        default=None,
        description="Steps that must succeed first, besides those that `inputs` name.",
        json_schema_extra=LIST_SET,
    )
    inputs: Inputs | None = Field(default=None, description="What the step reads.")
    outputs: Outputs | None = Field(default=None, description="What the step writes.")
    resources: ResourceRequirements | None = Field(
        default=None, description="CPU, memory and devices of the step's container."
    )
    step_operator_ref: LocalRef | None = Field(
        default=None, description="StackComponent of type `stepOperator`, one of the stack's, that runs this step."
    )
    pod_template: PodTemplate | None = Field(default=None, description="Additions to the step's pod.")

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!has(self.script) || (!has(self.command) && !has(self.args))",
                "script cannot be combined with command or args: put the call into the script, or drop it",
                field="script",
            )
        )
    }


class PipelineRunSpec(Model):
    """What to run."""

    pipeline: LabelName = Field(description="Name of the pipeline. It groups runs.")
    stack_ref: LocalRef | None = Field(
        default=None,
        description="Stack to run on. Left out: the Stack of the namespace with the annotation "
        'cairn.dev/default-stack: "true", else the built-in stack `default` (local orchestrator, local artifact '
        "store).",
    )
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=100)] | None = Field(
        default=None, description="Named values that the steps can use.", json_schema_extra=list_map("name")
    )
    max_parallel_steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="How many steps may run at the same time. The orchestrator's own limit holds too."
    )
    suspend: bool = Field(default=False, description="While true, no further step starts; what runs goes on.")
    source: Source | None = Field(default=None, description="Where the run's code comes from, for the record.")
    pod_template: PodTemplate | None = Field(default=None, description="Additions to the pod of every step.")
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=500)] = Field(
        description="The steps. Their order follows from `dependsOn` and `inputs`.",
        json_schema_extra=list_map("name"),
    )

    model_config = {
        "json_schema_extra": rules(
            *(
                Rule(
                    f"has(self.{field}) == has(oldSelf.{field}) "
                    f"&& (!has(self.{field}) || self.{field} == oldSelf.{field})",
                    f"{field} is immutable: create a new PipelineRun instead",
                    field=field,
                )
                for field in ("stackRef", "parameters", "maxParallelSteps", "source", "podTemplate")
            ),
            *(
                Rule(
                    f"self.{field} == oldSelf.{field}",
                    f"{field} is immutable: create a new PipelineRun instead",
                    field=field,
                )
                for field in ("pipeline", "steps")
            ),
        )
    }


class ArtifactStatus(Model):
    """An output that is kept in the artifact store."""

    name: str = Field(description="Name of the output.", max_length=63)
    uri: str = Field(description="Where it is kept.", max_length=2048)
    digest: str = Field(
        description="`sha256:` and the digest of the file, or of the sorted list of a directory's files.",
        max_length=80,
    )
    size_bytes: int = Field(description="Size in bytes, of all files together.", ge=0)


class ResultStatus(Model):
    """A small value that the step wrote."""

    name: str = Field(description="Name of the result.", max_length=63)
    value: str = Field(description="Its value.", max_length=4096)


class StepStatus(Model):
    """What became of one step."""

    name: str = Field(description="Name of the step.", max_length=63)
    state: StepState = Field(
        description="Pending (waits for others), Queued (its pod is made but has not started), Running, Succeeded, "
        "Failed, or Skipped (a step that it needs did not succeed)."
    )
    attempts: int = Field(default=0, description="How many times it was started.", ge=0)
    reason: str | None = Field(default=None, description="The cause in one CamelCase word.", max_length=128)
    message: str | None = Field(
        default=None, description="The cause in a sentence, with the next action.", max_length=1024
    )
    exit_code: int | None = Field(default=None, description="Exit code of the step's container, where it failed.")
    start_time: Timestamp | None = Field(default=None, description="When its container started.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended, its outputs kept.")
    job_name: str | None = Field(default=None, description="Job of the latest attempt.", max_length=253)
    pod_name: str | None = Field(default=None, description="Pod of the latest attempt.", max_length=253)
    log_tail: str | None = Field(default=None, description="Last lines of the log of a failed step.", max_length=1024)
    artifacts: Annotated[tuple[ArtifactStatus, ...], Field(max_length=32)] | None = Field(
        default=None, description="Outputs that are kept in the artifact store.", json_schema_extra=list_map("name")
    )
    results: Annotated[tuple[ResultStatus, ...], Field(max_length=32)] | None = Field(
        default=None, description="Small values that the step wrote.", json_schema_extra=list_map("name")
    )


class ResolvedComponent(Model):
    """A component that the run uses."""

    type: str = Field(description="Its type.", max_length=63)
    name: str = Field(description="Its name.", max_length=253)
    flavor: str = Field(description="Its flavor.", max_length=63)


class ResolvedStack(Model):
    """The stack as it was when the run started."""

    name: str = Field(
        description="Name of the Stack; `default` where none was named and none is the default.",
        max_length=253,
    )
    built_in: bool = Field(
        default=False, description="Whether it is the built-in stack, which no Stack object describes."
    )
    digest: str = Field(
        description="Digest of the specs of the stack and its components, the same for the same configuration.",
        max_length=80,
    )
    components: Annotated[tuple[ResolvedComponent, ...], Field(max_length=64)] = Field(
        default=(), description="Its components.", json_schema_extra=list_map("type", "name")
    )


class StepCounts(Model):
    """How many steps are in each state."""

    pending: int = Field(default=0, description="Waiting for others.", ge=0)
    queued: int = Field(default=0, description="Made, not started.", ge=0)
    running: int = Field(default=0, description="Running.", ge=0)
    succeeded: int = Field(default=0, description="Succeeded.", ge=0)
    failed: int = Field(default=0, description="Failed.", ge=0)
    skipped: int = Field(default=0, description="Skipped.", ge=0)


class PipelineRunStatus(Model):
    """What became of the run."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = Field(
        default=(),
        description="`Succeeded`: Unknown while it runs, then True or False. `Finished`: True at either end.",
        json_schema_extra=list_map("type"),
    )
    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that the status is about.", ge=0
    )
    start_time: Timestamp | None = Field(default=None, description="When the run was accepted.")
    completion_time: Timestamp | None = Field(default=None, description="When it ended.")
    duration_seconds: int | None = Field(default=None, description="Time from start to end, in seconds.", ge=0)
    stack: ResolvedStack | None = Field(default=None, description="The stack as it was when the run started.")
    steps_summary: str | None = Field(
        default=None, description="Steps that succeeded, of all steps, such as 3/5.", max_length=16
    )
    step_counts: StepCounts | None = Field(default=None, description="How many steps are in each state.")
    steps: Annotated[tuple[StepStatus, ...], Field(max_length=500)] = Field(
        default=(), description="Each step and what became of it.", json_schema_extra=list_map("name")
    )
