"""The objects around the work: namespaces with their Stacks, plain Jobs and bare pods, fake nodes."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import Any

from cairn.api.base import API_VERSION, JsonObject

STEP_IMAGE = os.environ.get("CAIRN_TEST_STEP_IMAGE", "python:3.11-slim-bookworm")
FAKE = "cairn.dev/fake"
"""Label, and taint, of the nodes that KWOK plays."""
HOLD_ANNOTATION = "bench.cairn.dev/hold"
"""Annotation of pods that run on until it is taken away (clusters/fake-nodes.yaml)."""
LASTS_ANNOTATION = "bench.cairn.dev/lasts"
"""Annotation of pods that run so long, such as `120s`, on fake nodes, where nothing in them does."""
RUN_LABEL, STEP_LABEL = "bench.cairn.dev/run", "bench.cairn.dev/step"
JOBS_STACK, PODS_STACK = "jobs", "pods"
STORE = "store"
MOST_PARALLEL_STEPS = 1000


def namespace(name: str) -> JsonObject:
    """Return a namespace that admits restricted pods only, as a careful user's does."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def claim() -> JsonObject:
    """Return the claim behind the artifact store, which no step here uses."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": STORE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def cairn_object(kind: str, name: str, spec: JsonObject) -> JsonObject:
    """Return an object of one of Cairn's kinds."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def components(*, fake: bool) -> list[JsonObject]:
    """Return the components of two Stacks: one that makes Jobs, one that makes pods without a Job."""
    settings: JsonObject = {"maxParallelSteps": MOST_PARALLEL_STEPS}
    if fake:
        toleration = {"key": FAKE, "operator": "Exists", "effect": "NoSchedule"}
        settings["podTemplate"] = {"nodeSelector": {FAKE: "true"}, "tolerations": [toleration]}
    orchestrators = {JOBS_STACK: "Job", PODS_STACK: "Pod"}
    return [
        cairn_object("StackComponent", STORE, {"artifactStore": {"local": {"existingClaimName": STORE}}}),
        *(
            cairn_object("StackComponent", name, {"orchestrator": {"kubernetes": {**settings, "workload": workload}}})
            for name, workload in orchestrators.items()
        ),
    ]


def stacks() -> list[JsonObject]:
    """Return the two Stacks."""
    store = {"artifactStoreRef": {"name": STORE}}
    return [
        cairn_object("Stack", name, {"orchestratorRef": {"name": name}, **store}) for name in (JOBS_STACK, PODS_STACK)
    ]


def plain_job(job_of_cairn: JsonObject, run: str, step: str) -> JsonObject:
    """Return what a user would write by hand: the same pod as Cairn's, without anything that is Cairn's."""
    pod = plain_pod(job_of_cairn, run, step)
    spec = {"backoffLimit": 0, "template": {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": pod["metadata"], "spec": spec}


def plain_pod(job_of_cairn: JsonObject, run: str, step: str) -> JsonObject:
    """Return that pod alone."""
    spec: Any = deepcopy(job_of_cairn["spec"]["template"]["spec"])
    labels = {RUN_LABEL: run, STEP_LABEL: step}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{run}-{step}", "labels": labels}, "spec": spec}


def fake_node(name: str) -> JsonObject:
    """Return a node that KWOK plays, for pods that tolerate it."""
    labels = {FAKE: "true", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    taints = [{"key": FAKE, "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
    }
