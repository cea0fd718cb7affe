"""One step of a PipelineRun, as it is written."""

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
    list_map,
    rules,
)
from cairn.api.for_each import ForEach
from cairn.api.pod_template import EnvVar, PodTemplate, ResourceRequirements
from cairn.api.registration import Register

ArtifactType = Literal["Dataset", "Model", "Metrics", "Report", "File"]
RetryOn = Literal["Failure", "Always"]

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
    register_: Register | None = Field(
        default=None,
        alias="register",
        description="Makes it a version of a registered model, in the stack's model registry.",
    )


class Outputs(Model):
    """What the step writes."""

    artifacts: Annotated[tuple[OutputArtifact, ...], Field(max_length=32)] | None = Field(
        default=None,
        description="Files and directories to keep in the artifact store. One that is missing fails the step.",
        json_schema_extra=list_map("name"),
    )
    results: Annotated[tuple[ResultName, ...], Field(max_length=32)] | None = Field(
        default=None,
        description="Names of small values (strings, numbers, booleans, lists) that the step writes as one JSON object, of at "
        "most 4 KiB, to the file that `CAIRN_RESULTS` names; in a run of more than 64 steps, their share of 256 KiB.",
        json_schema_extra=LIST_SET,
    )


class Retry(Model):
    """When another attempt is made of a step that did not succeed, and how long after."""

    limit: Annotated[int, Field(ge=0, le=10)] = Field(
        default=0,
        description="How many more attempts are made when the step fails; none unless given. Disruptions are not charged to it.",
    )
    on: RetryOn = Field(
        default="Failure",
        description='What is charged to the limit and tried again; write "on" in quotes, since YAML takes the bare word for '
        "true. Failure: the step's own end, such as an exit code, too "
        "much memory, its timeout or a missing output. Always: that, and what kept it from starting or its artifacts from "
        "being moved, such as an image that cannot be pulled.",
    )
    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=5, description="Time from the first end to the next attempt, in seconds; 5 unless given."
    )
    backoff_factor: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2, description="By what that time is multiplied for each further attempt; 2 unless given."
    )
    max_backoff_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        default=300, description="The longest such time, in seconds; 300 unless given."
    )
    disruption_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=10,
        description="How many more attempts are made when the cluster takes the pod away: eviction, preemption, a lost node, "
        "a drain, or a pod or Job that somebody deleted; 10 unless given.",
    )


class Cache(Model):
    """Whether a step is left out where the same one has succeeded before."""

    enabled: bool = Field(
        default=True, description="false: the step runs, and what comes of it is not kept for others."
    )
    expires_after_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = Field(
        default=None, description="How old what is used in its place may be, in seconds. Left out: of any age."
    )
    salt: Annotated[str, Field(max_length=256)] = Field(
        default="",
        description="Any text; only steps with the same one are used. Change it where something has changed that Cairn does not "
        "see, such as a table that the step reads.",
    )


class Step(Model):
    """One container of the pipeline."""

    name: StepName = Field(description="Name of the step, unique within the run: lower-case letters, digits and -.")
    image: str = Field(description="Container image. Give it a tag or, better, a digest.", min_length=1, max_length=512)
    command: Annotated[tuple[Annotated[str, Field(max_length=32768)], ...], Field(max_length=256)] | None = Field(
        default=None,
        description="The program and its first arguments, in place of the image's entrypoint. `$(params.x)`, "
        "`$(run.name)`, `$(run.uid)`, `$(steps.s.results.r)` and, in a step with forEach, `$(item.value)` and `$(item.index)` are "
        "replaced; `$$(` is a literal `$(`.",
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
        "it: it reads parameters from `CAIRN_PARAM_<NAME>`, where <NAME> is in upper case with _ for -, and a result of "
        "another step from a variable of `env`. Not together with `command` or `args`.",
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
        description="Steps that must have succeeded first, or were skipped by their `when`, besides those that `inputs` name.",
        json_schema_extra=LIST_SET,
    )
    when: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="A CEL expression; where it is false the step is skipped. It is evaluated when what the step needs has "
        "ended, and sees `params.<name>`, `item.value` and `item.index` of a step with forEach, and of each "
        "step that comes before this one `steps.<step>.state` and `steps.<step>.results.<name>`, with _ for - in names. "
        "All are strings, but the index and the results of a step with forEach, which are a list: "
        "`double(steps.train.results.rmse) < 0.5`. Of `finally`, steps see all steps, and `run.state`: Succeeded, Failed, "
        "Cancelled or TimedOut.",
    )
    for_each: ForEach | None = Field(
        default=None,
        description="Runs the step once for each item of a list, as instances `<name>-0`, `<name>-1` and so on, each with its "
        "own status. Steps that need it wait for all of them; they see its results as JSON lists, in the order of the items, "
        "and its artifacts as a directory that holds the one of each instance under its index.",
    )
    inputs: Inputs | None = Field(default=None, description="What the step reads.")
    outputs: Outputs | None = Field(default=None, description="What the step writes.")
    retry: Retry | None = Field(
        default=None,
        description="When another attempt is made of it. Left out: not when it fails, up to 10 times when it is disrupted.",
    )
    cache: Cache | None = Field(
        default=None,
        description="Leaves the step out (`Cached`) where the same one has succeeded before, in any run of the namespace: the same "
        "image, by its digest, command, args, script, env, parameters, item, inputs, by their digests, and outputs. `{}` is "
        "enough. Left out: the step always runs.",
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="How long an attempt may run, in seconds from the start of its container. After that it is stopped and "
        "has failed with DeadlineExceeded.",
    )
    pending_timeout_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = Field(
        default=600,
        description="How long an attempt may wait for its start, in seconds, 600 unless given: for a node, an image, a Secret, "
        "a quota. It counts from when its pod was made; fetching inputs does not count. After that it has failed with what it "
        "waited for as the reason. So has one that has ended and whose outputs cannot be kept for that long, since the pod's "
        "next container cannot start.",
    )
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
                "script cannot be combined with command or args: put the call into the script, and what it is to know into env",
                field="script",
            ),
            Rule(
                "!has(self.forEach) || size(self.name) <= 59",
                "the name of a step with forEach may have 59 characters, since its instances have an index behind it",
                field="name",
            ),
        )
    }
