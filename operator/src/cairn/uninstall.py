"""Let go of every object before the operator is removed; the chart's pre-delete hook runs this.

An object with the operator's finalizer cannot be deleted when the operator is gone. So the operator is stopped, that it
may not put the finalizer back, and then the finalizer is taken from every object.

Usage: python -m cairn.uninstall --namespace NAME --deployment NAME --pods SELECTOR [--objects-in NAMESPACE]...
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cairn.api.base import FINALIZER, JsonObject
from cairn.api.deletion import finalizers_without_own, is_held
from cairn.api.labels import MANAGED_BY, MANAGED_BY_CAIRN
from cairn.clients.kubernetes import (
    DEPLOYMENTS,
    METADATA_LIST_ONLY,
    PIPELINE_RUNS,
    PODS,
    STACK_COMPONENTS,
    STACKS,
    ConflictError,
    ForbiddenError,
    Kubernetes,
    NotFoundError,
    Resource,
)

KINDS = (STACK_COMPONENTS, STACKS, PIPELINE_RUNS, PODS)

STOP_SECONDS = 60
"""Twice the pod's grace period. A pod that is still there then is on a node that does not answer."""
ROUNDS = 5
PATCHES_AT_ONCE = 16

log = logging.getLogger("cairn.uninstall")


@dataclass(frozen=True)
class Operator:
    """The Deployment to stop."""

    namespace: str
    deployment: str
    pods: str
    """Label selector of its pods."""


class StillHeldError(Exception):
    """Objects got the finalizer again while it was taken away."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends with an exception, so that the hook tries again, when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", required=True, help="the operator's namespace")
    parser.add_argument("--deployment", required=True, help="name of the operator's Deployment")
    parser.add_argument("--pods", required=True, help="label selector of the operator's pods")
    parser.add_argument("--objects-in", action="append", help="namespace to free objects in (default: all)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    operator = Operator(given.namespace, given.deployment, given.pods)
    asyncio.run(_connect_and_uninstall(operator, given.objects_in or [None]))


async def _connect_and_uninstall(operator: Operator, namespaces: Sequence[str | None]) -> None:
    kubernetes = await Kubernetes.connect()
    try:
        await stop(kubernetes, operator)
        await release(kubernetes, namespaces)
    finally:
        await kubernetes.close()


async def stop(kubernetes: Kubernetes, operator: Operator, *, pause: float = 1) -> None:
    """Scale the operator to zero, and wait until its pod is gone."""
    try:
        await kubernetes.merge(
            DEPLOYMENTS, operator.namespace, f"{operator.deployment}/scale", {"spec": {"replicas": 0}}
        )
    except NotFoundError:
        log.info("Deployment %s/%s is not there.", operator.namespace, operator.deployment)
    deadline = time.monotonic() + STOP_SECONDS
    while (await kubernetes.list(PODS, operator.namespace, selector=operator.pods))[0]:
        if time.monotonic() > deadline:
            log.warning("The operator's pod is still there after %d s; going on without waiting.", STOP_SECONDS)
            return
        await asyncio.sleep(pause)
    log.info("The operator is stopped.")


async def release(kubernetes: Kubernetes, namespaces: Sequence[str | None], *, pause: float = 1) -> None:
    """Take the finalizer from every object, and see that none is left; None stands for all namespaces.

    Raises:
        StillHeldError: if some are left after a few rounds.
    """
    for _ in range(ROUNDS):
        held = [
            (resource, item)
            for resource in KINDS
            for namespace in namespaces
            for item in await _held(kubernetes, resource, namespace)
        ]
        if not held:
            log.info("No object has the finalizer %s.", FINALIZER)
            return
        gate = asyncio.Semaphore(PATCHES_AT_ONCE)
        done = await asyncio.gather(*(_free(kubernetes, gate, resource, item) for resource, item in held))
        log.info("Took the finalizer from %d of %d objects.", sum(done), len(held))
        await asyncio.sleep(pause)
    raise StillHeldError(f"Objects still get the finalizer {FINALIZER}; stop what puts it there, and run this again.")


async def _held(kubernetes: Kubernetes, resource: Resource, namespace: str | None) -> list[JsonObject]:
    """Return the objects with the finalizer; none where the CRD or the namespace is gone."""
    try:
        selector = f"{MANAGED_BY}={MANAGED_BY_CAIRN}" if resource is PODS else ""
        items, _ = await kubernetes.list(resource, namespace, selector=selector, accept=METADATA_LIST_ONLY)
    except NotFoundError:
        return []
    except ForbiddenError as error:
        # With a namespace, the operator's Role in it is gone, so this is no reason to fail.
        if namespace is None:
            raise
        log.warning("Left out %s of namespace %s, which has no Role for Cairn: %s", resource.plural, namespace, error)
        return []
    return [item for item in items if is_held(item)]


async def _free(kubernetes: Kubernetes, gate: asyncio.Semaphore, resource: Resource, body: JsonObject) -> bool:
    """Take the finalizer away unless the object has changed since; others' finalizers stay."""
    metadata = body["metadata"]
    patch = {"metadata": {"finalizers": finalizers_without_own(body), "resourceVersion": metadata["resourceVersion"]}}
    async with gate:
        try:
            await kubernetes.merge(resource, metadata["namespace"], metadata["name"], patch)
        except NotFoundError:
            return True
        except ConflictError:
            return False
    return True


if __name__ == "__main__":
    main()
