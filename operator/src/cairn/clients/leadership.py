"""Which of several operators works: the one that holds a Lease (https://kubernetes.io/docs/concepts/architecture/leases/).

The semantics are those of client-go's leader election (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection). Why it is not
that of the official Python client is told in docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from cairn.api.base import JsonObject
from cairn.clients.jitter import jittered
from cairn.clients.kubernetes import (
    CAN_BE_TRIED_AGAIN,
    LEASES,
    AlreadyExistsError,
    ConflictError,
    Kubernetes,
    NotFoundError,
)

logger = logging.getLogger(__name__)

LEASE_SECONDS = 8
"""How long the others wait, after they have seen the last sign of the one that works, before one of them takes over."""
GIVE_UP_SECONDS = 5.0
"""How long the one that works goes on without having told of itself: less than the others wait, its end included."""
RENEW_SECONDS = 2.0
RELEASE_SECONDS = 5.0
"""What the release may take of the grace period of a pod that is told to stop."""


class LeadershipLostError(Exception):
    """Another operator works now, or may: this one has to stop."""


class Leadership:
    """The Lease, as one of several operators sees it."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, name: str, identity: str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._seen = ""
        """Version of the Lease when another held it."""
        self._seen_at = 0.0
        """When that version was seen first, on this machine's own clock: those of two machines may differ."""
        self._told = 0.0
        """When the others were told last that this one works: before the request that told them."""
        self.is_leader = False

    async def acquire(self) -> None:
        """Wait until this operator is the one that works."""
        logger.info("Waiting for Lease %s/%s", self._namespace, self._name)
        while True:
            self._told = time.monotonic()
            if await self._try() and time.monotonic() - self._told < GIVE_UP_SECONDS:
                break
            await asyncio.sleep(jittered(RENEW_SECONDS))
        self.is_leader = True
        logger.info("%s holds Lease %s/%s and works", self._identity, self._namespace, self._name)

    async def keep(self) -> None:
        """Tell the others again and again that this one works.

        Raises:
            LeadershipLostError: that has not come through for so long that another may take over, or another has.
        """
        while (left := self._told + GIVE_UP_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(min(RENEW_SECONDS, left))
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, self._told + GIVE_UP_SECONDS - began)):
                    if not await self._renew():
                        break
                self._told = began
            except CAN_BE_TRIED_AGAIN as error:
                logger.warning("The Lease could not be renewed: %s: %s", type(error).__name__, error)
        self.is_leader = False
        raise LeadershipLostError(f"Lease {self._namespace}/{self._name} is not held any more.")

    async def close(self) -> None:
        """Close the connection."""
        await self._kubernetes.close()

    async def release(self) -> None:
        """Let another take over at once."""
        self.is_leader = False
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = await self._kubernetes.get(LEASES, self._namespace, self._name)
                if lease["spec"].get("holderIdentity") == self._identity:
                    await self._write(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("The Lease could not be released; another operator takes over later: %s", error)

    async def _try(self) -> bool:
        try:
            lease = await self._kubernetes.get(LEASES, self._namespace, self._name)
            if self._is_anothers(lease):
                return False
            spec = lease.get("spec") or {}
            times = {"acquireTime": _now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
            await self._write(lease, {**self._held(), **times})
        except NotFoundError:
            return await self._create()
        except CAN_BE_TRIED_AGAIN as error:
            if not isinstance(error, ConflictError):
                logger.warning("The Lease could not be read or taken: %s: %s", type(error).__name__, error)
            return False
        return True

    async def _create(self) -> bool:
        body: JsonObject = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {**self._held(), "acquireTime": _now(), "leaseTransitions": 0},
        }
        try:
            await self._kubernetes.create(LEASES, self._namespace, body)
        except AlreadyExistsError:
            return False
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("The Lease could not be made: %s: %s", type(error).__name__, error)
            return False
        return True

    def _is_anothers(self, lease: JsonObject) -> bool:
        """Return whether another operator holds the Lease and has shown a sign of itself lately."""
        spec, version = lease.get("spec") or {}, lease["metadata"]["resourceVersion"]
        if spec.get("holderIdentity", "") in {"", self._identity}:
            return False
        if version != self._seen:
            self._seen, self._seen_at = version, time.monotonic()
        return time.monotonic() - self._seen_at < spec.get("leaseDurationSeconds", LEASE_SECONDS)

    async def _renew(self) -> bool:
        """Tell of this operator; return False where another one holds the Lease."""
        try:
            lease = await self._kubernetes.get(LEASES, self._namespace, self._name)
            if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                return False
            await self._write(lease, self._held())
        except NotFoundError:
            return await self._create()
        except ConflictError:
            return await self._renew()
        return True

    async def _write(self, lease: JsonObject, spec: JsonObject) -> None:
        patch = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}
        await self._kubernetes.merge(LEASES, self._namespace, self._name, patch)

    def _held(self) -> JsonObject:
        return {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
