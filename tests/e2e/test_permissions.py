"""The operator may do what it does, and no more: its permissions are held against the audit log.

Runs after all other tests but the removal of the operator (see conftest.py), and needs them: alone it fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cluster import Body, Cluster

pytestmark = pytest.mark.alone

AUDIT_LOG = Path(__file__).parents[2] / ".cluster" / "audit" / "audit.log"
OPERATOR = "system:serviceaccount:cairn-system:cairn"

Permission = tuple[str, str, str]
"""API group, resource with subresource, verb."""

NOT_SEEN_IN_EVERY_SESSION: Mapping[Permission, str] = {
    (
        "batch",
        "jobs",
        "get",
    ): "only where a Job of an attempt's name is there already, as after a crash at the right moment",
    (
        "",
        "persistentvolumeclaims",
        "patch",
    ): "only where a claim is to grow, which the demo's storage class does not allow",
    ("", "pods", "get"): "only where a pod without a Job is recorded and the watch has not told of it",
    **{
        (group, resource, verb): "only where the CRD is there, and the values of an MLflow server ask for one"
        for group, resource in (
            ("gateway.networking.k8s.io", "httproutes"),
            ("monitoring.coreos.com", "servicemonitors"),
        )
        for verb in ("get", "create", "patch", "delete")
    },
    ("", "serviceaccounts", "get"): "only where an s3 store names the ServiceAccount of a cloud identity",
    (
        "",
        "serviceaccounts/token",
        "create",
    ): "only where an orchestrator kubeflow logs in with the operator's own token",
}


@pytest.fixture(scope="module")
def requests(cluster: Cluster) -> list[Body]:
    """Every request of the operator since it was installed, or upgraded to what it is.

    A request that was refused before it was known whose it is has an event without a user's name.
    """
    if os.environ.get("CLUSTER") == "current":
        pytest.skip("the audit log of a cluster that is not this checkout's own cannot be read")
    installed = max(
        replica_set["metadata"]["creationTimestamp"]
        for replica_set in cluster.list(
            "ReplicaSet", "app.kubernetes.io/name=cairn,app.kubernetes.io/component=operator"
        )
    )
    events = [json.loads(line) for path in sorted(AUDIT_LOG.parent.glob("audit*.log")) for line in path.open()]
    return [
        event
        for event in events
        if event["user"].get("username") == OPERATOR
        and event["requestReceivedTimestamp"] >= installed.removesuffix("Z")
    ]


def test_nothing_that_the_operator_asked_was_forbidden(cluster: Cluster, requests: list[Body]) -> None:
    """For a moment after its start the API server does not know the roles yet, and refuses what they grant."""
    assert requests, f"{AUDIT_LOG} holds no request by {OPERATOR}"
    granted = set(_granted(cluster))
    refused = [
        f"{event['verb']} {event['requestURI']}"
        for event in requests
        # there is no decision where the API server was too busy to look at the request
        if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
        if "objectRef" not in event or _permission(event) not in granted
    ]
    assert refused == []


def test_no_permission_is_granted_and_never_used(cluster: Cluster, requests: list[Body]) -> None:
    used = {_permission(event) for event in requests if "objectRef" in event}
    granted = set(_granted(cluster))

    assert granted, "no ClusterRole of the operator was found"
    assert set(NOT_SEEN_IN_EVERY_SESSION) <= granted, "an exception for what is no longer granted"
    assert granted - used - set(NOT_SEEN_IN_EVERY_SESSION) == set()


def _permission(event: Body) -> Permission:
    reference = event["objectRef"]
    subresource = f"/{reference['subresource']}" if reference.get("subresource") else ""
    return reference.get("apiGroup", ""), f"{reference.get('resource', '')}{subresource}", event["verb"]


def _granted(cluster: Cluster) -> Iterator[Permission]:
    """Yield what the operator may do everywhere, and in its own namespace."""
    for kind in ("ClusterRole", "Role"):
        bound = {
            binding["roleRef"]["name"]
            for binding in cluster.list(f"{kind}Binding")
            for subject in binding.get("subjects") or ()
            if (subject.get("namespace"), subject["name"]) == ("cairn-system", "cairn")
        }
        for role in cluster.list(kind):
            if role["metadata"]["name"] in bound:
                for rule in role["rules"]:
                    for group in rule["apiGroups"]:
                        for resource in rule["resources"]:
                            yield from ((group, resource, verb) for verb in rule["verbs"])
