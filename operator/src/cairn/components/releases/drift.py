"""Whether the objects of a release are what Helm made them.

The API server is asked what it would change if the manifest were applied now: it alone knows its defaults, and how it writes
quantities.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jsonpatch

from cairn.api.base import JsonObject
from cairn.api.deletion import is_being_deleted
from cairn.clients.kubernetes import (
    CLAIMS,
    DEPLOYMENTS,
    SERVICE_ACCOUNTS,
    SERVICES,
    InvalidError,
    Kubernetes,
    NotFoundError,
    Resource,
)

logger = logging.getLogger(__name__)

KINDS: Mapping[tuple[str, str], Resource] = {
    (resource.api_version, resource.kind): resource
    for resource in (
        CLAIMS,
        SERVICE_ACCOUNTS,
        SERVICES,
        DEPLOYMENTS,
        Resource("batch/v1", "cronjobs", "CronJob"),
        Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
        Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
        Resource("networking.k8s.io/v1", "ingresses", "Ingress"),
        Resource("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
        Resource("monitoring.coreos.com/v1", "servicemonitors", "ServiceMonitor"),
    )
}
"""What the charts make that Cairn installs, Secrets aside: what they hold is compared with nothing."""
KEPT_BY_THE_SERVER = ("managedFields", "resourceVersion", "generation")


async def drift(kubernetes: Kubernetes, namespace: str, manifest: Iterable[JsonObject]) -> Sequence[str]:
    """Return what of a manifest is not so in the cluster, each as a few words; fields that it leaves open are not looked at."""
    found: list[str] = []
    for body in manifest:
        resource = KINDS.get((body["apiVersion"], body["kind"]))
        if resource is None:
            continue
        name = body["metadata"]["name"]
        try:
            live = await kubernetes.get(resource, namespace, name)
            applied = await kubernetes.apply_dry_run(resource, namespace, body)
        except NotFoundError:
            found.append(f"{resource.kind} {name} is missing")
            continue
        except InvalidError as error:  # a webhook that knows no dry run, or a claim that somebody has enlarged
            logger.warning("%s %s/%s cannot be compared with its manifest: %s", resource.kind, namespace, name, error)
            continue
        if is_being_deleted(live):
            found.append(f"{resource.kind} {name} is being deleted")
            continue
        paths = sorted(
            {_field(operation) for operation in jsonpatch.make_patch(_compared(live), _compared(applied)).patch}
        )
        if paths:
            found.append(f"{resource.kind} {name} has another {' and '.join(paths[:3])}")
    return found


def _field(operation: Mapping[str, Any]) -> str:
    return str(operation["path"]).strip("/").replace("/", ".")


def _compared(body: JsonObject) -> JsonObject:
    metadata = {name: value for name, value in body["metadata"].items() if name not in KEPT_BY_THE_SERVER}
    return {**{name: value for name, value in body.items() if name != "status"}, "metadata": metadata}
