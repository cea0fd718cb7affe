"""Kubernetes Events, as many of them as are read."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Literal

from cairn.api.base import JsonObject
from cairn.clients.clock import Clock
from cairn.clients.event_allowance import EventAllowance
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, EVENTS, ForbiddenError, Kubernetes

logger = logging.getLogger(__name__)

CONTROLLER = "cairn.dev/operator"
LONGEST_NOTE = 1024
"""In bytes, as the API server counts."""


class EventRecorder:
    """Writes Events. One that cannot be written, or is one too many, is logged and dropped: an Event never fails a reconcile."""

    def __init__(self, kubernetes: Kubernetes, instance: str, clock: Clock | None = None) -> None:
        self._kubernetes = kubernetes
        self._instance = instance
        self._allowance = EventAllowance(clock or Clock())

    async def record(
        self, body: JsonObject, type_: Literal["Normal", "Warning"], reason: str, action: str, note: str
    ) -> None:
        """Record an Event about an object, in the log as well (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/)."""
        logger.info("%s %s: %s", action, reason, note)
        metadata = body["metadata"]
        if not self._allowance.take(metadata["uid"], reason):
            return
        now = datetime.now(UTC)
        event: JsonObject = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name'][:200].rstrip('-.')}.{int(now.timestamp() * 1e6):x}",
                "namespace": metadata["namespace"],
            },
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "type": type_,
            "reason": reason[:128],
            "action": action,
            "note": note.encode()[:LONGEST_NOTE].decode(errors="ignore"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": body["apiVersion"],
                "kind": body["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion"),
            },
        }
        try:
            await self._kubernetes.create(EVENTS, metadata["namespace"], event)
        except CAN_BE_TRIED_AGAIN as error:
            expected = isinstance(error, ForbiddenError) and "being terminated" in error.message
            logger.log(logging.DEBUG if expected else logging.WARNING, "An Event was lost: %s: %s", reason, error)
