"""A store in a claim: artifacts pass through it, it outlives the component, and what it lacks is said."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from cluster import Body, Cluster, artifacts, condition, states
from manifests import claim, component, python, run, stack

WITHIN = 15.0
"""Seconds after which a component and its Stack show what became of them."""


@pytest.fixture
def local(namespace: Cluster) -> Cluster:
    """A namespace with a Stack `stack` of the orchestrator `local` and a store `store` that is not there yet."""
    namespace.apply(component("local", {"orchestrator": {"local": {}}}))
    namespace.apply(stack("stack", orchestrator="local", store="store"))
    return namespace


def test_artifacts_pass_between_steps(local: Cluster) -> None:
    """Within a pod, and by way of the claim to a step that needs another pod; the next run's pod finds them there."""
    local.apply(component("store", {"artifactStore": {"local": {"claim": {"size": "1Gi"}}}}))
    is_ready(local)
    elsewhere = {"podTemplate": {"labels": {"pod": "another"}}}
    steps = [
        python("make", "open('/out/word', 'w').write('one')", outputs=artifact("/out/word")),
        passing_on("same-pod", "make", "two"),
        passing_on("other-pod", "same-pod", "three", **elsewhere),
    ]
    local.create(run("first", steps, on="stack"))

    first = local.finished("first")

    assert set(states(first).values()) == {"Succeeded"}, first["status"]
    pods = {item["name"]: item["podName"] for item in first["status"]["steps"]}
    assert pods["make"] == pods["same-pod"] != pods["other-pod"]
    uri = artifacts(first, "other-pod")["word"]["uri"]
    scheme, _, key = uri.partition("://cairn-store/")
    assert scheme == "pvc"
    volumes: Body = {
        "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": "cairn-store"}}],
        "volumeMounts": [{"name": "store", "mountPath": "/store", "readOnly": True}],
    }
    look = python("look", f"assert open('/store/{key}').read() == 'one two three'", podTemplate=volumes)
    local.create(run("second", [look], on="stack"))
    second = local.finished("second")
    assert states(second) == {"look": "Succeeded"}, second["status"]


def test_claim_outlives_the_component(local: Cluster) -> None:
    local.apply(component("store", {"artifactStore": {"local": {}}}))
    is_ready(local)
    made = local.get("PersistentVolumeClaim", "cairn-store") or {}

    local.delete("Stack", "stack")
    local.delete("StackComponent", "store")
    local.wait_gone("Stack", "stack", WITHIN)
    local.wait_gone("StackComponent", "store", WITHIN)

    kept = local.get("PersistentVolumeClaim", "cairn-store") or {}
    assert kept["metadata"]["uid"] == made["metadata"]["uid"]
    assert "deletionTimestamp" not in kept["metadata"]
    local.apply(component("store", {"artifactStore": {"local": {}}}))
    local.wait_condition("StackComponent", "store", "Ready", status="True", timeout=WITHIN)


def test_missing_existing_claim(local: Cluster) -> None:
    local.apply(component("store", {"artifactStore": {"local": {"existingClaimName": "mine"}}}))

    message = is_broken(local, "ClaimNotFound")
    assert f"PersistentVolumeClaim {local.namespace}/mine does not exist; create it or correct" in message

    local.apply(claim("mine"))
    is_ready(local)


def test_claim_of_somebody_else_s_in_the_place_of_its_own(local: Cluster) -> None:
    local.apply(claim("cairn-store"))
    local.apply(component("store", {"artifactStore": {"local": {}}}))

    message = is_broken(local, "ClaimConflict")
    assert f"PersistentVolumeClaim {local.namespace}/cairn-store was not made for this component" in message
    assert "name it in existingClaimName to use it" in message

    local.apply(component("store", {"artifactStore": {"local": {"existingClaimName": "cairn-store"}}}))
    is_ready(local)


def test_unknown_storage_class(local: Cluster, class_name: str) -> None:
    local.apply(component("store", {"artifactStore": {"local": {"claim": {"storageClassName": class_name}}}}))

    message = is_broken(local, "StorageClassNotFound")
    assert f"PersistentVolumeClaim {local.namespace}/cairn-store needs StorageClass {class_name}" in message
    assert "create it, or use another claim" in message

    local.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": class_name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )
    is_ready(local)


@pytest.fixture
def class_name(cluster: Cluster) -> Iterator[str]:
    """The name of a StorageClass that is not there, and is deleted afterwards."""
    name = f"e2e-{secrets.token_hex(4)}"
    yield name
    cluster.kubectl("delete", "storageclass", name, "--ignore-not-found")


def is_ready(namespace: Cluster) -> None:
    namespace.wait_condition("Stack", "stack", "Ready", status="True", timeout=WITHIN)


def is_broken(namespace: Cluster, reason: str) -> str:
    """Wait until the component and its Stack say so, and return the message."""
    said = namespace.wait_condition("StackComponent", "store", "Ready", status="False", reason=reason, timeout=WITHIN)

    def holds(body: Body) -> bool:
        return f"artifactStore store: {said['message']}" in condition(body, "Ready").get("message", "")

    namespace.wait("Stack", "stack", holds, WITHIN, reason)
    return said["message"]


def passing_on(name: str, source: str, word: str, **fields: object) -> Body:
    """Return a step that adds a word to what another step wrote."""
    code = f"open('/out/word', 'w').write(open('/in/word').read() + ' {word}')"
    inputs = artifact("/in/word", **{"from": f"{source}.word"})
    return python(name, code, inputs=inputs, outputs=artifact("/out/word"), **fields)


def artifact(path: str, **fields: str) -> Body:
    """Return inputs or outputs of the one artifact `word`."""
    return {"artifacts": [{"name": "word", "path": path, **fields}]}
