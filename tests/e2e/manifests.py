"""The objects that the tests apply."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

Body = dict[str, Any]

API_VERSION = "cairn.dev/v1alpha1"
ORCHESTRATORS = ("kubernetes", "local")
WORKLOADS = ("kubernetes", "pods", "local")
"""The orchestrators, `kubernetes` with each of its workloads; there is a stack of each name."""
HOLD = """
import os, time
while not os.path.exists('/tmp/go'):
    time.sleep(0.1)
"""
"""Script that waits until `Cluster.release` lets it go on."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of a namespace that allows restricted pods only."""
PYTHON_IMAGE = os.environ.get("CAIRN_TEST_STEP_IMAGE", "python:3.11-slim-bookworm")


def component(name: str, spec: Mapping[str, Any]) -> Body:
    """Return a StackComponent."""
    return {"apiVersion": API_VERSION, "kind": "StackComponent", "metadata": {"name": name}, "spec": dict(spec)}


def stack(
    name: str, *, orchestrator: str, store: str, annotations: Mapping[str, str] | None = None, **spec: Any
) -> Body:
    """Return a Stack."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Stack",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": {"orchestratorRef": {"name": orchestrator}, "artifactStoreRef": {"name": store}, **spec},
    }


def run(name: str, steps: Sequence[Mapping[str, Any]], *, on: str | None = None, **spec: Any) -> Body:
    """Return a PipelineRun."""
    reference = {"stackRef": {"name": on}} if on else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"name": name},
        "spec": {"pipeline": "test", **reference, "steps": [dict(step) for step in steps], **spec},
    }


def pipeline(name: str, steps: Sequence[Mapping[str, Any]], **spec: Any) -> Body:
    """Return a Pipeline."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Pipeline",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"steps": [dict(step) for step in steps]}}, **spec},
    }


def run_of(pipeline_name: str, name: str, **spec: Any) -> Body:
    """Return a PipelineRun of a Pipeline."""
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineRun",
        "metadata": {"name": name},
        "spec": {"pipelineRef": {"name": pipeline_name}, **spec},
    }


def schedule_of(pipeline_name: str, name: str, times: str, **spec: Any) -> Body:
    """Return a PipelineSchedule of a Pipeline."""
    return {
        "apiVersion": API_VERSION,
        "kind": "PipelineSchedule",
        "metadata": {"name": name},
        "spec": {"pipelineRef": {"name": pipeline_name}, "schedule": times, **spec},
    }


def python(name: str, code: str, **fields: Any) -> Body:
    """Return a step that runs a piece of Python."""
    return {"name": name, "image": PYTHON_IMAGE, "script": code, **fields}


def secret(name: str, **data: str) -> Body:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def s3(bucket: str, endpoint: str, *, credentials: str = "s3-credentials", **fields: Any) -> Body:
    """Return the spec of an artifact store in a bucket."""
    return {
        "artifactStore": {
            "s3": {
                "bucket": bucket,
                "endpoint": endpoint,
                "addressingStyle": "Path",
                "credentialsSecretRef": {"name": credentials},
                **fields,
            }
        }
    }


def claim(name: str) -> Body:
    """Return a PersistentVolumeClaim that pods of one node can write to."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
