"""The pod of an attempt: the user's container between two of the backend's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import platform_spec
from .ir import Resources
from .launcher import ASSIGNMENT, MAIN, Assignment
from .outputs import OUTPUT_PARAMETERS, is_stored, mount_path
from .placeholders import kubelet_quoted, resolve
from .state import Attempt

Json = dict[str, Any]
MANAGED_BY = {"app.kubernetes.io/managed-by": "kfp-backend"}
GRACE_SECONDS = 5
CODE_PATH = "/opt/kfp-backend"
RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Helpers:
    """How the backend's own containers run."""

    image: str
    endpoint: str
    """Of the S3 server."""
    region: str = "us-east-1"
    secret: str = ""
    """With AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; none if the pods have credentials otherwise."""
    code: str = ""
    """The ConfigMap with the files of this package; none if the image has it."""
    pull_policy: str = "IfNotPresent"
    restrict_main: bool = False
    """Whether the user's container is restricted too, as a namespace may want it."""


def make_pod(attempt: Attempt, helpers: Helpers, namespace: str) -> Json:
    """Return the pod of an attempt."""
    artifacts = [one for found in attempt.inputs.artifacts.values() for one in found if is_stored(one.uri)]
    outputs = {name: found[0].uri for name, found in attempt.outputs.artifacts.items()}
    uris = [*(one.uri for one in artifacts), *outputs.values()]
    assignment = Assignment(
        pod=attempt.pod_name,
        namespace=namespace,
        endpoint=helpers.endpoint,
        region=helpers.region,
        inputs=[one.uri for one in artifacts],
        outputs=outputs,
        parameters=attempt.output_parameters,
        log=attempt.log_uri,
    )
    shared = [
        {"name": f"artifacts-{path[1:]}", "mountPath": path} for path in sorted({mount_path(one) for one in uris})
    ]
    shared.append({"name": "outputs", "mountPath": OUTPUT_PARAMETERS})
    main = _main(attempt, shared, is_restricted=helpers.restrict_main)
    volumes: list[Json] = [{"name": one["name"], "emptyDir": {}} for one in shared]
    if helpers.code:
        volumes.append({"name": "code", "configMap": {"name": helpers.code}})
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": attempt.pod_name,
            "namespace": namespace,
            "labels": {
                **MANAGED_BY,
                "pipeline/runid": attempt.run_id,
                "pipelines.kubeflow.org/v2_component": "true",
                "workflows.argoproj.io/workflow": attempt.workflow,
            },
            "annotations": {
                "workflows.argoproj.io/node-id": attempt.node_id,
                "workflows.argoproj.io/node-name": attempt.node_name,
            },
        },
        "spec": {
            "restartPolicy": "Never",
            # Under Argo a command is not the first process of its container, so it ends at once when it is told to.
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "serviceAccountName": attempt.service_account,
            "initContainers": [_helper("kfp-launcher", "fetch", assignment, helpers, shared)],
            "containers": [main, _helper("wait", "wait", assignment, helpers, shared)],
            "volumes": volumes,
        },
    }
    platform_spec.apply(pod, main, attempt.platform)
    return pod


def _main(attempt: Attempt, shared: list[Json], *, is_restricted: bool) -> Json:
    container = attempt.container

    def resolved(texts: list[str]) -> list[str]:
        return resolve(texts, attempt.inputs, attempt.outputs, kubelet_quoted)

    main: Json = {
        "name": MAIN,
        "image": resolved([container.image])[0],
        "env": [
            *({"name": one.name, "value": one.value} for one in container.env),
            {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "KFP_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ],
        "volumeMounts": list(shared),
    }
    if container.command:
        main["command"] = resolved(container.command)
    if container.args:
        main["args"] = resolved(container.args)
    if resources := _resources(container.resources, resolved):
        main["resources"] = resources
    if is_restricted:
        main["securityContext"] = dict(RESTRICTED)
    return main


def _resources(asked: Resources, resolved: Any) -> Json:
    """Return requests and limits; the older form has cores and gigabytes as numbers."""
    requests = {
        "cpu": asked.resource_cpu_request or _cores(asked.cpu_request),
        "memory": asked.resource_memory_request or _gigabytes(asked.memory_request),
    }
    limits = {
        "cpu": asked.resource_cpu_limit or _cores(asked.cpu_limit),
        "memory": asked.resource_memory_limit or _gigabytes(asked.memory_limit),
    }
    if asked.accelerator:
        kind = asked.accelerator.resource_type or asked.accelerator.type
        limits[kind] = asked.accelerator.resource_count or str(asked.accelerator.count)
    both = {"requests": requests, "limits": limits}
    found = {
        side: {kind: resolved([amount])[0] for kind, amount in one.items() if amount} for side, one in both.items()
    }
    return {side: one for side, one in found.items() if one}


def _cores(number: float) -> str:
    return f"{round(number * 1000)}m" if number else ""


def _gigabytes(number: float) -> str:
    return f"{round(number * 1000)}M" if number else ""


def _helper(name: str, verb: str, assignment: Assignment, helpers: Helpers, shared: list[Json]) -> Json:
    env: list[Json] = [{"name": ASSIGNMENT, "value": kubelet_quoted(assignment.model_dump_json())}]
    if helpers.secret:
        env += [
            {"name": key, "valueFrom": {"secretKeyRef": {"name": helpers.secret, "key": key}}}
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
    module, mounts = __package__ or "", list(shared)
    if helpers.code:
        # The package under its own name, wherever it was started from.
        module = "backend"
        env.append({"name": "PYTHONPATH", "value": CODE_PATH})
        mounts.append({"name": "code", "mountPath": f"{CODE_PATH}/{module}"})
    return {
        "name": name,
        "image": helpers.image,
        "imagePullPolicy": helpers.pull_policy,
        "command": ["python", "-m", f"{module}.launcher", verb],
        "env": env,
        "volumeMounts": mounts,
        "securityContext": {**RESTRICTED, "runAsUser": 65532, "runAsGroup": 65532},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
