"""The operator's process."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from typing import Any, cast

import kopf
from aiohttp import web
from prometheus_client import REGISTRY
from pydantic import ValidationError

from cairn.clients import metrics
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.events import EventRecorder
from cairn.clients.kubernetes import Kubernetes
from cairn.clients.leadership import Leadership
from cairn.clients.metrics import ReadinessCollector, RunCollector
from cairn.handlers import http, kinds, logging
from cairn.handlers.leading import lead
from cairn.handlers.operator import Operator
from cairn.settings import Settings

STACK_BYTES = 64 << 20
RECURSION_LIMIT = 25_000
"""Twice as deep as the API server's own decoder goes (10,000 levels)."""


def main() -> int:
    """Run the operator until it is told to stop."""
    try:
        settings = Settings.model_validate({})
    except ValidationError as error:
        sys.stderr.write(f"The settings are not valid; each is an environment variable CAIRN_<NAME>:\n{error}\n")
        return 2
    logging.set_up(settings)
    _allow_deep_json()
    asyncio.run(_run(settings))
    return 0


def _allow_deep_json() -> None:
    """Let objects be decoded that are nested as deeply as the API server allows: one of them must not end the process.

    Python's decoder calls itself for each level, up to the recursion limit, on the C stack.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if hard == resource.RLIM_INFINITY else hard, hard))
    sys.setrecursionlimit(RECURSION_LIMIT)


async def _run(settings: Settings) -> None:
    kubernetes = await Kubernetes.connect()
    instance = os.environ.get("POD_NAME") or socket.gethostname()
    events = EventRecorder(kubernetes, instance)
    cluster = Cluster(kubernetes, events)
    operator = Operator(cluster, settings)
    REGISTRY.register(ReadinessCollector(cluster.components, cluster.stacks))
    REGISTRY.register(RunCollector(cluster.runs, Clock()))
    metrics.WORKING.set_function(lambda: operator.ready)
    leadership = None
    if settings.lease:
        leadership = Leadership(await Kubernetes.connect(), *settings.lease.split("/"), identity=instance)
    runner = web.AppRunner(http.application(operator, leadership))
    await runner.setup()
    await web.TCPSite(runner, port=settings.http_port).start()
    try:
        if leadership is None:
            await _work(settings, operator, instance)
        else:
            await lead(leadership, lambda: _work(settings, operator, instance))
    finally:
        await runner.cleanup()
        if leadership is not None:
            await leadership.close()


async def _work(settings: Settings, operator: Operator, instance: str) -> None:
    metrics.LEADER.set(1)
    registry = kopf.OperatorRegistry()
    kinds.register(registry, operator)
    await kopf.operator(
        registry=registry,
        identity=cast(Any, instance),  # kopf's own asks for the user's name, which a numeric user has not
        standalone=True,
        clusterwide=not settings.namespace_list,
        namespaces=settings.namespace_list,
    )


if __name__ == "__main__":
    sys.exit(main())
