"""The pod that runs one step, or several one after another.

Any image works unchanged: the step's container is one link of a chain of init containers, between `fetch`, which puts its
inputs into place, and `publish`, which keeps its outputs. Only those two see the store's credentials. The last link is the
pod's main container.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import basename, dirname
from typing import Any

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import Parameter
from cairn.api.pipelinerun_status import ArtifactStatus
from cairn.api.pod_template import PodTemplate
from cairn.api.step import InputArtifact, Step
from cairn.components.step_access import StepAccess
from cairn.runs import naming
from cairn.runs.graph import inputs_of, outputs_of, results_of
from cairn.runs.instances import item_of
from cairn.runs.pod_template import merge, merge_maps
from cairn.runs.references import LONGEST_TEXT, Replacement, Values, literal
from cairn.runs.validation import environment_name
from cairn.stacks.resolution import UsableStack

WORK_VOLUME = "cairn-work"
WORK = "/cairn/work"
RESULTS_DIRECTORY = "/cairn/results"
RESULTS_FILE = f"{RESULTS_DIRECTORY}/results.json"
PLAN_VARIABLE = "CAIRN_PLAN"
"""Environment variable that tells `cairn.step` what to move."""
TERMINATION_LOG = "/dev/termination-log"
CONTAINERS_WITH_WHOLE_MESSAGES = 3
"""The kubelet keeps 4 KiB of a container's termination message, and 12 KiB of all containers of a pod together."""
USER_ID = 65532

RESTRICTED_POD: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class TransferImage:
    """What `fetch` and `publish` run as."""

    image: str
    pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class PodContext:
    """Everything but the steps themselves that a pod is made from."""

    run: naming.RunIdentity
    stack: UsableStack
    run_template: PodTemplate | None
    parameters: Sequence[Parameter]
    values: Values
    artifacts: Mapping[tuple[str, str], Mapping[str, ArtifactStatus]]
    """What steps that succeeded have kept, by step and artifact, each by where it lies within an input."""
    transfer: TransferImage
    work_size: str | None = None
    """Size limit of the volume that inputs and outputs pass through."""
    tracking: Mapping[tuple[str, int], StepAccess] = field(default_factory=dict[tuple[str, int], StepAccess])
    """What attempts need to record into their records, by step and number."""


@dataclass(frozen=True)
class Attempt:
    """One try of one step."""

    step: Step
    number: int


def step_template(context: PodContext, step: Step) -> PodTemplate:
    """Return all additions to a step's pod: orchestrator, stack, run, step operator, step, in increasing precedence."""
    operator = context.stack.step_operators.get(step.step_operator_ref.name) if step.step_operator_ref else None
    own = PodTemplate(env=step.env, resources=step.resources)
    return merge(
        [
            context.stack.orchestrator.pod_template,
            PodTemplate(env=tuple(context.stack.env) or None),
            context.stack.pod_template,
            context.run_template,
            operator.pod_template if operator else None,
            step.pod_template,
            own,
        ]
    )


def build_pod(context: PodContext, attempts: Sequence[Attempt]) -> JsonObject:
    """Return the pod, as `metadata` and `spec`, in which the steps run one after another.

    Raises:
        TextsTooLargeError: with its references replaced, the command or environment of a step is too large.
    """
    templates = [step_template(context, attempt.step) for attempt in attempts]
    pairs = [(attempt.step.name, attempt.number) for attempt in attempts]
    plain = len(attempts) == 1
    containers = [
        container
        for index, (attempt, template) in enumerate(zip(attempts, templates, strict=True))
        for container in _chain(context, attempts, index, attempt, template, plain=plain)
    ]
    common = templates[0]
    access = context.stack.artifact_store.access
    has_transfer = any(container["name"].startswith(naming.RESERVED_PREFIX) for container in containers)
    volumes = [
        *_by_name(volume for template in templates for volume in template.volumes or ()),
        *([_work_volume(context)] if has_transfer else []),
        *(access.volumes if has_transfer else ()),
        *_by_name(volume for attempt in attempts for volume in _tracking(context, attempt).volumes),
    ]
    spec: JsonObject = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": bool(common.automount_service_account_token),
        "securityContext": merge_maps(RESTRICTED_POD, common.security_context or {}),
        "initContainers": containers[:-1],
        "containers": containers[-1:],
        "volumes": volumes,
        "serviceAccountName": common.service_account_name or (access.service_account_name if has_transfer else None),
        "nodeSelector": common.node_selector,
        "tolerations": common.tolerations,
        "affinity": common.affinity,
        "topologySpreadConstraints": common.topology_spread_constraints,
        "imagePullSecrets": [secret.to_json() for secret in common.image_pull_secrets or ()],
        "terminationGracePeriodSeconds": common.termination_grace_period_seconds,
        "priorityClassName": common.priority_class_name,
        "runtimeClassName": common.runtime_class_name,
        "schedulerName": common.scheduler_name,
        "hostAliases": common.host_aliases,
    }
    labels = {**(common.labels or {}), **naming.labels(context.run, context.stack.name, pairs)}
    annotations = {
        **(common.annotations or {}),
        naming.ATTEMPTS_ANNOTATION: naming.attempts_text(pairs),
        naming.RUN_NAME_ANNOTATION: context.run.name,
        "kubectl.kubernetes.io/default-container": attempts[0].step.name,
    }
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": _without_empty(spec)}


def pod_settings(template: PodTemplate) -> JsonObject:
    """Return what of a template concerns the whole pod; steps share a pod only where this is the same."""
    of_the_container = {
        "env", "env_from", "volume_mounts", "container_security_context", "resources", "image_pull_policy",
    }  # fmt: skip
    return template.model_dump(mode="json", exclude=of_the_container, exclude_none=True)


def reports_results_itself(container_count: int) -> bool:
    """Return whether a step's termination message can carry its results: the kubelet keeps all 4 KiB of it."""
    return container_count <= CONTAINERS_WITH_WHOLE_MESSAGES


def _chain(
    context: PodContext,
    attempts: Sequence[Attempt],
    index: int,
    attempt: Attempt,
    template: PodTemplate,
    *,
    plain: bool,
) -> Iterator[JsonObject]:
    """Yield fetch, the step's own container, and publish, each where it is needed."""
    step, count = attempt.step, len(attempts)
    here = {earlier.step.name for earlier in attempts[:index]}
    fetched = [source for source in inputs_of(step) if not _made_here(source, here)]
    outputs, results = outputs_of(step), results_of(step)
    publishes = bool(outputs) or (bool(results) and not plain)
    if fetched:
        wanted: JsonObject = {
            "store": context.stack.artifact_store.access.settings,
            "artifacts": [item for source in fetched for item in _fetch_items(context, step, source)],
        }
        yield _transfer(context, naming.fetch_container(index, count), "fetch", wanted, template)
    yield step_container(context, attempt, template, attempts=attempts[: index + 1], plain=plain)
    if publishes:
        items = [
            {
                "name": output.name,
                "uri": context.stack.artifact_store.uri(naming.artifact_key(context.run, step.name, output.name)),
                "path": f"{WORK}/{_output_path(step, output.path)}",
                "declaredPath": output.path,
            }
            for output in outputs
        ]
        plan: JsonObject = {"store": context.stack.artifact_store.access.settings, "artifacts": items}
        if results and not plain:
            plan["resultsPath"] = f"{WORK}/results/{step.name}/{basename(RESULTS_FILE)}"
        yield _transfer(context, naming.publish_container(index, count), "publish", plan, template)


def step_container(
    context: PodContext, attempt: Attempt, template: PodTemplate, *, attempts: Sequence[Attempt], plain: bool
) -> JsonObject:
    """Return the step's own container, behind those of the attempts before it in the pod; `plain` where it is alone there.

    Raises:
        TextsTooLargeError: with its references replaced, its command or environment is too large.
    """
    step = attempt.step
    replacement = Replacement(context.values.of_item(item_of(step)).value_of)
    if step.script is not None:
        command, args = [literal(text) for text in step.interpreter], [literal(step.script)]
    else:
        command = [replacement.of(text) for text in step.command or ()]
        args = [replacement.of(text) for text in step.args or ()]
    results_by_message = bool(results_of(step)) and plain
    container: JsonObject = {
        "name": step.name,
        "image": step.image,
        "imagePullPolicy": template.image_pull_policy,
        "command": command,
        "args": args,
        "env": [
            *_unless_given(_defaults(template), template),
            *_cairn_environment(context, attempt),
            *_unless_given(_tracking(context, attempt).env, template),
            *_environment(replacement, template),
        ],
        "envFrom": template.env_from,
        "resources": template.resources.to_json() if template.resources else None,
        "securityContext": merge_maps(RESTRICTED_CONTAINER, template.container_security_context or {}),
        "volumeMounts": [
            *(template.volume_mounts or ()),
            *_mounts(step, attempts),
            *([_results_mount(step)] if results_of(step) and not plain else []),
            *_tracking(context, attempt).volume_mounts,
        ],
        "terminationMessagePath": RESULTS_FILE if results_by_message else TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return _without_empty(container)


def _cairn_environment(context: PodContext, attempt: Attempt) -> Iterator[JsonObject]:
    values = {
        "CAIRN_RUN": context.run.name,
        "CAIRN_RUN_UID": context.run.uid,
        "CAIRN_PIPELINE": context.run.pipeline,
        "CAIRN_STEP": attempt.step.name,
        "CAIRN_ATTEMPT": str(attempt.number),
        **{environment_name(parameter.name): parameter.value for parameter in context.parameters},
    }
    item = item_of(attempt.step)
    if item is not None:
        values |= {"CAIRN_ITEM": item[0], "CAIRN_ITEM_INDEX": str(item[1])}
    if results_of(attempt.step):
        values["CAIRN_RESULTS"] = RESULTS_FILE
    for name, value in values.items():
        yield {"name": name, "value": literal(value)}


def _tracking(context: PodContext, attempt: Attempt) -> StepAccess:
    return context.tracking.get((attempt.step.name, attempt.number), StepAccess())


def _unless_given(variables: Iterable[JsonObject], template: PodTemplate) -> Iterator[JsonObject]:
    """Yield the variables that the user does not set himself."""
    given = {variable.name for variable in template.env or ()}
    return (variable for variable in variables if variable["name"] not in given)


def _defaults(template: PodTemplate) -> Iterator[JsonObject]:
    """Yield what makes images work that were not built for an arbitrary user.

    Output is seen as it is written, also of what is killed. The user that a restricted pod runs as has no home directory.
    """
    defaults = {"PYTHONUNBUFFERED": "1"}
    contexts = (template.security_context or {}, template.container_security_context or {})
    if not any("runAsUser" in context for context in contexts):
        defaults["HOME"] = "/tmp"  # noqa: S108 - of the step's own container
    for name, value in defaults.items():
        yield {"name": name, "value": value}


def _environment(replacement: Replacement, template: PodTemplate) -> Iterator[JsonObject]:
    for variable in template.env or ():
        if variable.value is None:
            yield variable.to_json()
        else:
            yield {"name": variable.name, "value": replacement.of(variable.value)}


def _mounts(step: Step, attempts: Sequence[Attempt]) -> Iterator[JsonObject]:
    """Yield the mounts of outputs' directories and of inputs, parents before what lies in them."""
    for index, directory in enumerate(_output_directories(step)):
        yield {"name": WORK_VOLUME, "mountPath": directory, "subPath": f"outputs/{step.name}/{index}"}
    producers = {earlier.step.name: earlier.step for earlier in attempts}
    for source in inputs_of(step):
        sub_path = f"inputs/{step.name}/{source.name}"
        producer_name, _, artifact = (source.from_ or "").partition(".")
        if producer_name in producers:
            producer = producers[producer_name]
            path = next(output.path for output in outputs_of(producer) if output.name == artifact)
            sub_path = _output_path(producer, path)
        yield {"name": WORK_VOLUME, "mountPath": source.path, "subPath": sub_path, "readOnly": True}


def _results_mount(step: Step) -> JsonObject:
    return {"name": WORK_VOLUME, "mountPath": RESULTS_DIRECTORY, "subPath": f"results/{step.name}"}


def _output_directories(step: Step) -> list[str]:
    return sorted({dirname(output.path) for output in outputs_of(step)})


def _output_path(step: Step, path: str) -> str:
    index = _output_directories(step).index(dirname(path))
    return f"outputs/{step.name}/{index}/{basename(path)}"


def _made_here(source: InputArtifact, here: set[str]) -> bool:
    return source.from_ is not None and source.from_.split(".")[0] in here


def _fetch_items(context: PodContext, step: Step, source: InputArtifact) -> Iterator[JsonObject]:
    path = f"{WORK}/inputs/{step.name}/{source.name}"
    if source.from_ is None:
        yield {"name": source.name, "uri": source.uri, "path": path}
        return
    producer, artifact = source.from_.split(".")
    for within, kept in context.artifacts[producer, artifact].items():
        place = f"{path}/{within}" if within else path
        name = f"{source.name}/{within}" if within else source.name
        yield {"name": name, "uri": kept.uri, "digest": kept.digest, "path": place}


def _transfer(context: PodContext, name: str, command: str, plan: JsonObject, template: PodTemplate) -> JsonObject:
    """Return a container that moves artifacts. It runs as the step's user, so that each can read the other's files."""
    access = context.stack.artifact_store.access
    user = {
        key: value
        for key, value in (template.container_security_context or {}).items()
        if key in {"runAsUser", "runAsGroup", "runAsNonRoot"}
    }
    return {
        "name": name,
        "image": context.transfer.image,
        "imagePullPolicy": context.transfer.pull_policy,
        "command": ["python", "-m", "cairn.step", command],
        "env": [
            *_plan_variables(plan),
            *access.env,
        ],
        "resources": context.transfer.resources,
        "securityContext": {**RESTRICTED_CONTAINER, "readOnlyRootFilesystem": True, **user},
        "volumeMounts": [{"name": WORK_VOLUME, "mountPath": WORK}, *access.volume_mounts],
        "terminationMessagePath": TERMINATION_LOG,
    }


def _plan_variables(plan: JsonObject) -> Iterator[JsonObject]:
    """Yield the plan in as many variables as it takes."""
    text = json.dumps(plan, separators=(",", ":"))
    for index, start in enumerate(range(0, len(text), LONGEST_TEXT)):
        name = f"{PLAN_VARIABLE}_{index}" if index else PLAN_VARIABLE
        yield {"name": name, "value": literal(text[start : start + LONGEST_TEXT])}


def _work_volume(context: PodContext) -> JsonObject:
    return {"name": WORK_VOLUME, "emptyDir": {"sizeLimit": context.work_size} if context.work_size else {}}


def _by_name(volumes: Iterable[Mapping[str, Any]]) -> list[JsonObject]:
    """Return one volume of each name, the last."""
    return list({str(volume.get("name")): dict(volume) for volume in volumes}.values())


def _without_empty(value: JsonObject) -> JsonObject:
    """Return the object without absent fields and empty lists; an empty object may mean something and stays."""
    return {key: item for key, item in value.items() if item is not None and item not in ([], ())}
