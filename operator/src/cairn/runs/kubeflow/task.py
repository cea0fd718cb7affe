"""One step as a task of a pipeline, with its component and its executor. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from posixpath import dirname
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pod_template import EnvVar, PodTemplate, ResourceRequirements
from cairn.api.step import ArtifactType, InputArtifact, Retry, Step
from cairn.components.step_access import StepAccess
from cairn.runs.graph import inputs_of, outputs_of, results_of
from cairn.runs.instances import RunSteps, item_of, written_name
from cairn.runs.kubeflow.conditions import condition_of
from cairn.runs.kubeflow.platform import platform_of
from cairn.runs.kubeflow.prelude import Pair, with_prelude
from cairn.runs.kubeflow.texts import RESULTS, TaskParameters, string_parameters
from cairn.runs.naming import RESERVED_PREFIX
from cairn.runs.pod import RESULTS_FILE, PodContext, step_template
from cairn.runs.references import literal, references_in
from cairn.runs.validation import environment_name

RESULTS_ARTIFACT = "results.json"
"""The output artifact that the operator reads results from; no artifact of a step has a dot in its name."""
IMPORTER_PREFIX = f"{RESERVED_PREFIX}import-"
LONGEST_BACKOFF_SECONDS = 31_536_000
"""Argo gives a task up when so much time has passed since its first attempt began."""
SCHEMA_VERSION = "0.0.1"
"""Of the types of artifacts."""
TYPES: Mapping[ArtifactType, str] = {
    "Dataset": "system.Dataset",
    "Model": "system.Model",
    "Metrics": "system.Metrics",
    "Report": "system.HTML",
    "File": "system.Artifact",
}


@dataclass(frozen=True)
class Task:
    """What a pipeline has of one step."""

    name: str
    component: JsonObject
    executor: JsonObject
    task: JsonObject
    platform: JsonObject = field(default_factory=dict[str, Any])
    importers: Sequence[Task] = ()
    """The tasks that make artifacts of what it reads by URI."""
    key: str = ""
    """Name of the task that the pipeline has of it, where that is not its own."""


def task_of(context: PodContext, steps: RunSteps, step: Step, in_pipeline: frozenset[str], access: StepAccess) -> Task:
    """Return a step as a task; `in_pipeline` are the steps that are tasks too, the outputs of others are known."""
    template = step_template(context, step)
    parameters = TaskParameters(context.values.of_item(item_of(step)), in_pipeline)
    sources = dict(_sources(context, steps, step, in_pipeline))
    inputs = [(f"{{{{$.inputs.artifacts['{name}'].path}}}}", source.path) for name, source in sources.items()]
    command, args = _command(step, parameters, inputs, template.env or ())
    directories = {
        *(dirname(path) for _, path in (*inputs, *_outputs(step))),
        *(source.path for source in inputs_of(step) if _producer(source) in steps.without_items),
    }
    given = {variable.name for variable in template.env or ()}
    environment = [
        *({"name": name, "value": literal(value)} for name, value in _variables(context, step).items()),
        *(
            {"name": variable.name, "value": parameters.for_environment(variable.value)}
            for variable in template.env or ()
            if variable.value is not None and not _comes_at_run_time(variable, parameters)
        ),
        *(variable for variable in access.env if "value" in variable and variable["name"] not in given),
    ]
    condition = condition_of(steps, step, parameters)
    own = _with_access(template, access)
    return Task(
        name=step.name,
        component={
            "executorLabel": f"exec-{step.name}",
            **_definitions(
                "inputDefinitions", {name: source.type for name, source in sources.items()}, parameters.specs
            ),
            **_output_definitions(step),
        },
        executor={
            "container": {
                "image": step.image,
                "command": list(command),
                "args": list(args),
                **({"env": environment} if environment else {}),
                **_resources(template.resources),
            }
        },
        task={
            "taskInfo": {"name": step.name},
            "componentRef": {"name": f"comp-{step.name}"},
            "cachingOptions": {},
            **_waits_for(steps, step, in_pipeline, sources.values()),
            **_inputs({name: source.spec for name, source in sources.items()}, parameters.specs),
            **_retry(step.retry),
            **({"triggerPolicy": {"condition": condition}} if condition is not None else {}),
        },
        platform=platform_of(own, directories, step.timeout_seconds),
        importers=[source.importer for source in sources.values() if source.importer is not None],
    )


def _importer(name: str, uri: str) -> Task:
    """Return a task that makes a URI an artifact."""
    return Task(
        name=name,
        component={
            "executorLabel": f"exec-{name}",
            "inputDefinitions": {"parameters": {"uri": {"parameterType": "STRING"}}},
            "outputDefinitions": {"artifacts": {"artifact": {"artifactType": _type("File")}}},
        },
        executor={"importer": {"artifactUri": {"runtimeParameter": "uri"}, "typeSchema": _type("File")}},
        task={
            "taskInfo": {"name": name},
            "componentRef": {"name": f"comp-{name}"},
            "cachingOptions": {},
            "inputs": {"parameters": {"uri": {"runtimeValue": {"constant": uri}}}},
        },
    )


@dataclass(frozen=True)
class _Source:
    """Where one file or directory comes from that a step reads."""

    path: str
    type: ArtifactType
    spec: JsonObject
    importer: Task | None = None
    """The task that imports it, where no step of the pipeline writes it."""


def _sources(
    context: PodContext, steps: RunSteps, step: Step, in_pipeline: frozenset[str]
) -> Iterator[tuple[str, _Source]]:
    """Yield the input artifacts of a task; of a step with forEach there is one of each instance, if it has any."""
    names = (f"{IMPORTER_PREFIX}{step.name}-{number}" for number in count(1))
    for source in inputs_of(step):
        if source.from_ is None:
            yield source.name, _imported(next(names), source.path, source.uri or "")
            continue
        producer, artifact = source.from_.split(".")
        if producer in steps.without_items:
            continue
        written = steps.graph.steps[producer]
        type_: ArtifactType = next(output.type for output in outputs_of(written) if output.name == artifact)
        instances = steps.instances.get(producer)
        for name, within in _places(producer, instances):
            place = f"{source.path}/{within}" if within else source.path
            key = f"{source.name}.{within}" if within else source.name
            if name in in_pipeline:
                spec = {"taskOutputArtifact": {"producerTask": name, "outputArtifactKey": artifact}}
                yield key, _Source(place, type_, spec)
            else:
                yield key, _imported(next(names), place, context.artifacts[producer, artifact][within].uri)


def _producer(source: InputArtifact) -> str | None:
    """Return the step that writes an input, if one does."""
    return source.from_.split(".")[0] if source.from_ is not None else None


def _places(producer: str, instances: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Yield the tasks that write an input, each with where it lies within that."""
    if instances is None:
        yield producer, ""
    for index, instance in enumerate(instances or ()):
        yield instance, str(index)


def _imported(importer: str, path: str, uri: str) -> _Source:
    spec = {"taskOutputArtifact": {"producerTask": importer, "outputArtifactKey": "artifact"}}
    return _Source(path, "File", spec, _importer(importer, uri))


def _outputs(step: Step) -> list[Pair]:
    """Return where Kubeflow Pipelines looks for what a step writes, and where the step writes it."""
    pairs = [(f"{{{{$.outputs.artifacts['{output.name}'].path}}}}", output.path) for output in outputs_of(step)]
    if results_of(step):
        pairs += [
            (f"{{{{$.outputs.artifacts['{RESULTS_ARTIFACT}'].path}}}}", RESULTS_FILE),
            (f"{{{{$.outputs.parameters['{RESULTS}'].output_file}}}}", RESULTS_FILE),
        ]
    return pairs


def _command(
    step: Step, parameters: TaskParameters, inputs: Sequence[Pair], variables: Sequence[EnvVar]
) -> tuple[Sequence[str], Sequence[str]]:
    """Return command and arguments of the container."""
    if step.script is not None:
        command, args = [literal(text) for text in step.interpreter], [literal(step.script)]
    else:
        command = [parameters.for_command(text) for text in step.command or ()]
        args = [parameters.for_command(text) for text in step.args or ()]
    late = [
        f"{variable.name}={parameters.for_command(variable.value or '')}"
        for variable in variables
        if _comes_at_run_time(variable, parameters)
    ]
    if late:
        command = ["env", *late, *command]
    outputs = _outputs(step)
    if not inputs and not outputs:
        return command, args
    return with_prelude(inputs, outputs, [*command, *args])


def _comes_at_run_time(variable: EnvVar, parameters: TaskParameters) -> bool:
    return any(parameters.comes_at_run_time(reference) for reference in references_in(variable.value or ""))


def _variables(context: PodContext, step: Step) -> Mapping[str, str]:
    """Return the variables that every step has, but CAIRN_ATTEMPT: all attempts of a task have the same ones."""
    item = item_of(step)
    return {
        "CAIRN_RUN": context.run.name,
        "CAIRN_RUN_UID": context.run.uid,
        "CAIRN_PIPELINE": context.run.pipeline,
        "CAIRN_STEP": step.name,
        **{environment_name(parameter.name): parameter.value for parameter in context.parameters},
        **({"CAIRN_ITEM": item[0], "CAIRN_ITEM_INDEX": str(item[1])} if item is not None else {}),
        **({"CAIRN_RESULTS": RESULTS_FILE} if results_of(step) else {}),
    }


def _with_access(template: PodTemplate, access: StepAccess) -> PodTemplate:
    """Return a template with the variables and files that the step's code needs to record."""
    given = {variable.name for variable in template.env or ()}
    more = [variable for variable in access.env if "valueFrom" in variable and variable["name"] not in given]
    return template.model_copy(
        update={
            "env": (*(template.env or ()), *map(EnvVar.model_validate, more)),
            "volumes": (*(template.volumes or ()), *access.volumes),
            "volume_mounts": (*(template.volume_mounts or ()), *access.volume_mounts),
        }
    )


def _definitions(name: str, artifacts: Mapping[str, ArtifactType], parameters: Mapping[str, JsonObject]) -> JsonObject:
    found: JsonObject = {}
    if artifacts:
        found["artifacts"] = {of: {"artifactType": _type(type_)} for of, type_ in artifacts.items()}
    if parameters:
        found["parameters"] = string_parameters(parameters)
    return {name: found} if found else {}


def _output_definitions(step: Step) -> JsonObject:
    artifacts = {output.name: {"artifactType": _type(output.type)} for output in outputs_of(step)}
    if not results_of(step):
        return {"outputDefinitions": {"artifacts": artifacts}} if artifacts else {}
    artifacts[RESULTS_ARTIFACT] = {"artifactType": _type("File")}
    return {"outputDefinitions": {"artifacts": artifacts, "parameters": {RESULTS: {"parameterType": "STRUCT"}}}}


def _type(type_: ArtifactType) -> JsonObject:
    return {"schemaTitle": TYPES[type_], "schemaVersion": SCHEMA_VERSION}


def _inputs(artifacts: Mapping[str, JsonObject], parameters: Mapping[str, JsonObject]) -> JsonObject:
    found = {
        **({"artifacts": dict(artifacts)} if artifacts else {}),
        **({"parameters": dict(parameters)} if parameters else {}),
    }
    return {"inputs": found} if found else {}


def _waits_for(steps: RunSteps, step: Step, in_pipeline: frozenset[str], sources: Iterable[_Source]) -> JsonObject:
    """Return the tasks that come before one: those that it needs, and those that import what it reads."""
    needed = {
        instance
        for name in steps.graph.needs[written_name(step)]
        for instance in steps.instances.get(name, (name,))
        if instance in in_pipeline
    }
    importers = {source.importer.name for source in sources if source.importer is not None}
    tasks = sorted(needed | importers)
    return {"dependentTasks": tasks} if tasks else {}


def _retry(retry: Retry | None) -> JsonObject:
    """Return a retry policy; its longest duration is one of all attempts together, so it is none that could be reached."""
    if retry is None or retry.limit == 0:
        return {}
    policy = {
        "maxRetryCount": retry.limit,
        "backoffDuration": f"{retry.backoff_seconds}s",
        "backoffFactor": float(retry.backoff_factor),
        "backoffMaxDuration": f"{LONGEST_BACKOFF_SECONDS}s",
    }
    return {"retryPolicy": policy}


def _resources(resources: ResourceRequirements | None) -> JsonObject:
    if resources is None:
        return {}
    limits, requests = resources.limits or {}, resources.requests or {}
    found: JsonObject = {
        "resourceCpuLimit": limits.get("cpu"),
        "resourceMemoryLimit": limits.get("memory"),
        "resourceCpuRequest": requests.get("cpu"),
        "resourceMemoryRequest": requests.get("memory"),
    }
    devices = [
        {"resourceType": name, "resourceCount": number}
        for name, number in limits.items()
        if name not in {"cpu", "memory"}
    ]
    found["accelerator"] = next(iter(devices), None)
    kept = {name: value for name, value in found.items() if value is not None}
    return {"resources": kept} if kept else {}
