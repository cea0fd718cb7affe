"""Where outputs lie: in the object store below the pipeline root, and in a pod."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import uuid4

from .ir import Component
from .state import Artifact, Values

OUTPUT_PARAMETERS = "/tmp/kfp/outputs"  # noqa: S108 - KFP's path, in a pod
_DIRECTORIES = {"s3": "s3", "minio": "minio", "gs": "gcs"}
"""By the scheme of a URI, the directory that stands for it in a pod."""


def local_path(uri: str) -> str:
    """Return the path in a pod that stands for a URI."""
    scheme, _, rest = uri.partition("://")
    return f"/{_DIRECTORIES[scheme]}/{rest}" if scheme in _DIRECTORIES else uri


def is_stored(uri: str) -> bool:
    """Whether a URI is of an object store, so that pods have a path for it."""
    return uri.partition("://")[0] in _DIRECTORIES


def mount_path(uri: str) -> str:
    """Return the directory below which a URI's local path lies."""
    return "/" + PurePosixPath(local_path(uri)).parts[1]


def output_file(name: str) -> str:
    """Return the path of an output parameter's file."""
    return f"{OUTPUT_PARAMETERS}/{name}"


def base_uri(*, root: str, pipeline: str, run_id: str, task: str) -> str:
    """Return the URI below which the outputs and the logs of one execution go."""
    return f"{root.rstrip('/')}/{pipeline}/{run_id}/{task}/{uuid4()}"


def provision(component: Component, base: str) -> Values:
    """Return the artifacts that a container is to write, each with its URI."""
    return Values(
        artifacts={
            name: [Artifact(name=name, uri=f"{base}/{name}", schema_title=spec.artifact_type.schema_title)]
            for name, spec in component.output_definitions.artifacts.items()
        }
    )


def log_uri(base: str, number: int) -> str:
    """Return where the log of an attempt is kept: beside the outputs."""
    return f"{base}/executor-logs-{number}"
