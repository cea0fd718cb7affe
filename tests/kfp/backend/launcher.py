"""What runs beside a user's container: `fetch` brings inputs before it starts, `wait` takes outputs away when it has ended.

KFP does both in the user's container itself, by a binary that is copied there; the paths and the order are the same.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel

from .cluster import MERGE_PATCH, ApiError, Cluster, in_cluster
from .outputs import OUTPUT_PARAMETERS, local_path, output_file
from .s3 import S3

ASSIGNMENT = "KFP_ASSIGNMENT"
"""The variable with the assignment."""
RESULT = "kfp-backend/result"
"""The annotation of the pod in which `wait` says what came out."""
MAIN = "main"
POLL_SECONDS = 0.5

_log = logging.getLogger("launcher")


class Assignment(BaseModel):
    """What is to be moved."""

    pod: str
    namespace: str
    endpoint: str
    region: str
    inputs: list[str] = []
    """URIs."""
    outputs: dict[str, str] = {}
    """URIs by artifact."""
    parameters: list[str] = []
    """Output parameters."""
    log: str
    """The URI of the log."""


def fetch(assignment: Assignment, store: S3, root: Path = Path("/")) -> None:
    """Download inputs, and make the directories of outputs, so that any user can write there."""
    os.umask(0)
    for uri in assignment.inputs:
        if not store.download(uri, _below(root, local_path(uri))):
            _log.warning("nothing is at %s", uri)
    for uri in assignment.outputs.values():
        _below(root, local_path(uri)).parent.mkdir(parents=True, exist_ok=True)
    _below(root, OUTPUT_PARAMETERS).mkdir(parents=True, exist_ok=True)


def publish(assignment: Assignment, store: S3, root: Path = Path("/")) -> dict[str, Any]:
    """Upload outputs, and return which artifacts there were and what output parameters say."""
    written: list[str] = []
    for name, uri in assignment.outputs.items():
        path = _below(root, local_path(uri))
        if path.exists():
            store.upload(path, uri)
            written.append(name)
        else:
            _log.warning("output artifact %s: local filepath %s does not exist", name, path)
    files = {name: _below(root, output_file(name)) for name in assignment.parameters}
    return {
        "artifacts": written,
        "parameters": {name: path.read_text() for name, path in files.items() if path.is_file()},
    }


def _below(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")


async def wait(assignment: Assignment, store: S3, cluster: Cluster, root: Path = Path("/")) -> int:
    """Wait for the user's container to end and take its outputs and its log away; returns the exit code."""
    path = f"/api/v1/namespaces/{assignment.namespace}/pods/{assignment.pod}"
    ended = await _end(cluster, path)
    log = await cluster.text(f"{path}/log", container=MAIN)
    await asyncio.to_thread(store.write, log, assignment.log)
    if ended["exitCode"] != 0:
        return 0
    result = await asyncio.to_thread(publish, assignment, store, root)
    patch = {"metadata": {"annotations": {RESULT: json.dumps(result)}}}
    await cluster.request("PATCH", path, patch, content_type=MERGE_PATCH)
    missing = set(assignment.parameters) - set(result["parameters"])
    for name in sorted(missing):
        _log.error("failed to read output parameter %s: open %s: no such file or directory", name, output_file(name))
    return 1 if missing else 0


async def _end(cluster: Cluster, path: str) -> dict[str, Any]:
    """Return how the user's container ended, once it has; an API server that is away is asked again."""
    while True:
        try:
            ended = _ended(await cluster.request("GET", path))
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("the pod cannot be read now: %s", error)
            ended = None
        if ended is not None:
            return ended
        await asyncio.sleep(POLL_SECONDS)


def _ended(pod: dict[str, Any]) -> dict[str, Any] | None:
    """Return how the user's container ended, if it has."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["name"] == MAIN:
            return status.get("state", {}).get("terminated")
    return None


async def _wait(assignment: Assignment, store: S3) -> int:
    cluster = Cluster(in_cluster())
    try:
        return await wait(assignment, store, cluster)
    finally:
        await cluster.close()


def main(arguments: list[str]) -> int:
    """Run `fetch` or `wait`."""
    logging.basicConfig(level=logging.INFO)
    assignment = Assignment.model_validate_json(os.environ[ASSIGNMENT])
    store = S3(assignment.endpoint, assignment.region)
    if arguments == ["fetch"]:
        fetch(assignment, store)
        return 0
    return asyncio.run(_wait(assignment, store))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
