"""The clusters that are measured on: made for it, with the operator, and gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import (
    CLAIMS,
    JOBS,
    PIPELINE_RUNS,
    PODS,
    STACK_COMPONENTS,
    STACKS,
    Kubernetes,
    unlimited,
)
from tests.bench import objects
from tests.bench.many import delete_all
from tests.bench.names import REAL

CHECKOUT = Path(__file__).parents[2]
CLUSTERS = CHECKOUT / "tests/bench/clusters"
WITH = CHECKOUT / "tests/cluster/with.sh"
FAKE_NODES = 10
STACK_READY_SECONDS = 180.0
MEMORY_LIMIT = "2Gi"
"""Of the operator: the chart's is for fewer runs than are asked for here."""


class BenchCluster:
    """A cluster besides the one that tests and the demo run on; tests/bench/clusters says what it is like."""

    def __init__(self, variant: str, kubernetes: Kubernetes) -> None:
        self.variant = variant
        self.kubernetes = kubernetes

    @property
    def fake(self) -> bool:
        """Whether pods run on nodes that KWOK plays."""
        return self.variant != REAL

    @property
    def audit_log(self) -> Path:
        """What the operator asked of the API server."""
        return _state(self.variant) / "audit/audit.log"

    @property
    def images(self) -> Mapping[str, str]:
        """The references of the images that its nodes have, by the variables of images.sh."""
        lines = (_state(self.variant) / "images.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    async def kubectl(self, *arguments: str, feed: str | None = None) -> str:
        """Run kubectl and return what it prints."""
        return await _output(self.variant, "kubectl", *arguments, feed=feed)

    async def apply(self, namespace: str, manifests: str) -> None:
        """Apply manifests in a namespace."""
        await self.kubectl("apply", "--namespace", namespace, "--filename=-", feed=manifests)

    async def restart_operator(self) -> None:
        """Start the operator anew, so that its memory is that of what follows."""
        await self.kubectl("rollout", "restart", "deployment/cairn", "-n", "cairn-system")
        await self.kubectl("rollout", "status", "deployment/cairn", "-n", "cairn-system", "--timeout=180s")

    async def add_namespace(self, name: str, *, stacks: bool) -> None:
        """Make a namespace anew, with the Stacks of `objects.components` if asked for."""
        await self.kubectl("delete", "namespace", name, "--ignore-not-found")
        await _apply(self.variant, [objects.namespace(name)])
        if not stacks:
            return
        await self.kubernetes.create(CLAIMS, name, objects.claim())
        for component in objects.components(fake=self.fake):
            await self.kubernetes.create(STACK_COMPONENTS, name, component)
        for stack in objects.stacks():
            await self.add_stack(name, stack)

    async def add_stack(self, namespace: str, stack: JsonObject) -> None:
        """Make a Stack, and wait until runs can use it."""
        until = time.monotonic() + STACK_READY_SECONDS
        made = await self.kubernetes.create(STACKS, namespace, stack)
        while not _is_ready(made):
            if time.monotonic() > until:
                raise TimeoutError(f"Stack {namespace}/{stack['metadata']['name']} is not ready: {made.get('status')}")
            await asyncio.sleep(0.2)
            made = await self.kubernetes.get(STACKS, namespace, stack["metadata"]["name"])

    async def clear(self, namespace: str) -> None:
        """Delete what the work left, and wait until it is gone."""
        for resource in (PIPELINE_RUNS, JOBS, PODS):
            await delete_all(self.kubernetes, resource, namespace)


@asynccontextmanager
async def cluster(variant: str, *, keep: bool) -> AsyncGenerator[BenchCluster]:
    """Make a cluster with the operator, and fake nodes where it has some; it goes afterwards unless it is kept."""
    sys.stdout.write(f"Cluster {variant}\n")
    sys.stdout.flush()
    await _run("make", "--silent", "-C", str(CHECKOUT), "images", f"CLUSTER_VARIANT={variant}", "CLUSTER=")
    install = CHECKOUT / "tests/cluster/install.sh"
    try:
        await _output(variant, str(install), "--set", f"resources.limits.memory={MEMORY_LIMIT}")
        kubernetes = await _connect(variant)
        try:
            async with _fake_nodes(variant, kubernetes):
                yield BenchCluster(variant, kubernetes)
        finally:
            await kubernetes.close()
    finally:
        if not keep:
            await _run(
                "make", "--silent", "-C", str(CHECKOUT), "cluster-down", f"CLUSTER_VARIANT={variant}", "CLUSTER="
            )


@asynccontextmanager
async def _fake_nodes(variant: str, kubernetes: Kubernetes) -> AsyncGenerator[None]:
    if variant == REAL:
        yield
        return
    await _apply(variant, [objects.fake_node(f"fake-{index}") for index in range(FAKE_NODES)])
    stages = str(CLUSTERS / "fake-nodes.yaml")
    selector = f"--manage-nodes-with-label-selector={objects.FAKE}"
    with (_state(variant) / "kwok.log").open("w") as log:
        kwok = await asyncio.create_subprocess_exec(
            WITH,
            *("kwok", "--config", stages, selector, "--node-lease-duration-seconds=40", "--v=WARN"),
            env=_environment(variant),
            stdout=log,
            stderr=log,
        )
        try:
            await _output(variant, "kubectl", "wait", "node", "--all", "--for=condition=Ready", "--timeout=60s")
            yield
        finally:
            kwok.terminate()
            await kwok.wait()


async def _connect(variant: str) -> Kubernetes:
    configuration = unlimited()
    await config.load_kube_config(str(_state(variant) / "kubeconfig"), client_configuration=configuration)
    return Kubernetes(ApiClient(configuration))


def _state(variant: str) -> Path:
    return CHECKOUT / ".cluster" / variant


def _environment(variant: str) -> dict[str, str]:
    return {**os.environ, "CLUSTER_VARIANT": variant, "CLUSTER": ""}


def _is_ready(stack: JsonObject) -> bool:
    conditions = (stack.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def _apply(variant: str, items: Sequence[JsonObject]) -> None:
    """Create what has no namespace, unless it is there."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    await _output(variant, "kubectl", "apply", "-f", "-", feed=listed)


async def _output(variant: str, *command: str, feed: str | None = None) -> str:
    """Run a command in a cluster's environment and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        WITH, *command, env=_environment(variant), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    printed, complaint = await process.communicate(feed.encode() if feed else None)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {complaint.decode()}")
    return printed.decode()


async def _run(*command: str) -> None:
    """Run a command that speaks to the terminal itself."""
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait() != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
