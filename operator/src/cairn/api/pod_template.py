"""What a user may add to the pods that Cairn makes.

Kubernetes' own types keep Kubernetes' own names and meaning. Those that are too large to spell out are opaque in the
schema; the operator has the API server check them by a dry run of the pod before a run starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from cairn.api.base import (
    LIST_ATOMIC,
    LocalSecretRef,
    Model,
    ObjectName,
    Opaque,
    Quantity,
    Rule,
    consists_of,
    list_map,
    rules,
)

LabelValue = Annotated[
    str,
    Field(
        max_length=63,
        pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        json_schema_extra=rules(
            consists_of(
                "-_.A-Za-z0-9",
                "must be the value of a label: letters, digits, -, _ and ., with a letter or digit at both ends",
                not_at_ends="-_.",
            )
        ),
    ),
]
NOT_OF_CAIRN = rules(
    Rule(
        "self.all(k, !k.startsWith('cairn.dev/') && k != 'app.kubernetes.io/managed-by')",
        "labels that begin with cairn.dev/, and app.kubernetes.io/managed-by, are set by Cairn: remove them",
    )
)
"""Of the labels of an object that Cairn makes."""
LabelMap = Annotated[Mapping[str, LabelValue], Field(max_length=64)]
AnnotationMap = Annotated[Mapping[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]
Opaques = tuple[Opaque, ...]
ValueSource = Annotated[
    Mapping[str, Mapping[str, Any]],
    Field(
        json_schema_extra={
            "type": "object",
            "additionalProperties": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        }
    ),
]


class EnvVar(Model):
    """An environment variable, as in a Kubernetes container."""

    name: str = Field(
        description="Name of the variable. Names that begin with CAIRN_ are Cairn's own.",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$",
    )
    value: str | None = Field(
        default=None,
        description="Its value. `$(params.x)`, `$(run.name)`, `$(run.uid)` and `$(steps.s.results.r)` are replaced; "
        "`$$(` is a literal `$(`.",
        max_length=32768,
    )
    value_from: ValueSource | None = Field(
        default=None,
        description="Where the value comes from instead: `secretKeyRef`, `configMapKeyRef`, `fieldRef` or "
        "`resourceFieldRef`, as in a Kubernetes container.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "!self.name.startsWith('CAIRN_')",
                "names that begin with CAIRN_ are Cairn's own: choose another name",
                field="name",
            ),
            Rule(
                "!has(self.value) || !has(self.valueFrom)", "value and valueFrom exclude each other: keep one of them"
            ),
        )
    }


class ResourceRequirements(Model):
    """CPU, memory and devices, as in a Kubernetes container."""

    requests: Annotated[Mapping[str, Quantity], Field(max_length=32)] | None = Field(
        default=None, description="What the scheduler sets aside, such as `cpu: 500m` and `memory: 1Gi`."
    )
    limits: Annotated[Mapping[str, Quantity], Field(max_length=32)] | None = Field(
        default=None,
        description="What may not be exceeded. A container over its memory limit is killed (`OOMKilled`).",
    )


class PodTemplate(Model):
    """Additions to a step's pod. Where several levels give one, the most specific level wins."""

    labels: LabelMap | None = Field(
        default=None,
        description="Labels of the pod. Keys of `cairn.dev/` and `app.kubernetes.io/managed-by` are Cairn's own.",
        json_schema_extra=NOT_OF_CAIRN,
    )
    annotations: AnnotationMap | None = Field(default=None, description="Annotations of the pod.")
    node_selector: LabelMap | None = Field(default=None, description="Labels that a node must have to run the pod.")
    tolerations: Annotated[Opaques, Field(max_length=32)] | None = Field(
        default=None, description="Taints of nodes that the pod tolerates.", json_schema_extra=LIST_ATOMIC
    )
    affinity: Opaque | None = Field(default=None, description="Node affinity, pod affinity and pod anti-affinity.")
    topology_spread_constraints: Annotated[Opaques, Field(max_length=16)] | None = Field(
        default=None, description="How pods are spread over zones and nodes.", json_schema_extra=LIST_ATOMIC
    )
    volumes: Annotated[Opaques, Field(max_length=64)] | None = Field(
        default=None,
        description="Volumes of the pod, each with a name. Names that begin with `cairn-` are Cairn's own.",
        json_schema_extra=LIST_ATOMIC,
    )
    volume_mounts: Annotated[Opaques, Field(max_length=64)] | None = Field(
        default=None,
        description="Where the step's container sees the volumes: `name`, `mountPath`, `subPath`, `readOnly`.",
        json_schema_extra=LIST_ATOMIC,
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=256)] | None = Field(
        default=None, description="Environment variables of the step's container.", json_schema_extra=list_map("name")
    )
    env_from: Annotated[Opaques, Field(max_length=64)] | None = Field(
        default=None,
        description="Secrets and ConfigMaps whose every key becomes an environment variable of the step's container.",
        json_schema_extra=LIST_ATOMIC,
    )
    security_context: Opaque | None = Field(
        default=None,
        description="Security context of the pod. Left out, the pod meets the Pod Security level `restricted` and "
        "runs as user and group 65532; what is given here is merged over that.",
    )
    container_security_context: Opaque | None = Field(
        default=None,
        description="Security context of the step's container, merged over one that meets `restricted`.",
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pod. Left out, the namespace's `default`."
    )
    automount_service_account_token: bool | None = Field(
        default=None, description="Whether the pod gets a token for the Kubernetes API. Left out, it gets none."
    )
    image_pull_secrets: Annotated[tuple[LocalSecretRef, ...], Field(max_length=16)] | None = Field(
        default=None, description="Secrets to pull the step's image with.", json_schema_extra=list_map("name")
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the step's image is pulled: Always, IfNotPresent or Never."
    )
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        default=None,
        description="How long the containers may take to end after SIGTERM, when the pod is stopped or deleted. Left out, "
        "30 seconds.",
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the pod.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of the pod.")
    scheduler_name: ObjectName | None = Field(default=None, description="Scheduler that places the pod.")
    resources: ResourceRequirements | None = Field(
        default=None, description="CPU, memory and devices of the step's container."
    )
    host_aliases: Annotated[Opaques, Field(max_length=32)] | None = Field(
        default=None,
        description="Extra lines of the pod's /etc/hosts: `ip` and `hostnames`.",
        json_schema_extra=LIST_ATOMIC,
    )
