"""Asks what the API server has against the pods of Jobs that have none.

The Job controller tells that in an Event only. What it met with, such as a quota, a dry run meets with as well. A thousand
Jobs may wait for a controller that is slow, so that one question is for all Jobs with pods of the same shape.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from dataclasses import dataclass, field

from cairn.api.base import JsonObject
from cairn.clients.clock import Clock
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, JOBS, ForbiddenError, InvalidError, Kubernetes, NotFoundError
from cairn.clients.store import key_of
from cairn.runs import naming
from cairn.runs.admission import dry_run

logger = logging.getLogger(__name__)

HOLDS_SECONDS = 10.0
"""For how long an answer is good for others of that shape."""
REMEMBERED = 4096


@dataclass
class _Answer:
    """What was last said of a shape."""

    asked: float = -math.inf
    """When, on the monotonic clock."""
    objection: str | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class PodObjections:
    """Asks the API server, and remembers for a moment what it said."""

    def __init__(self, kubernetes: Kubernetes, clock: Clock) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    async def objection_to(self, job: JsonObject) -> str | None:
        """Return what the API server says against the pod of a Job, or None; where it cannot judge, what it said before.

        Raises:
            NotFoundError: the Job is gone.
        """
        metadata = job["metadata"]
        shape = (metadata.get("annotations") or {}).get(naming.POD_SHAPE_ANNOTATION, metadata["uid"])
        answer = self._answers.setdefault(shape, _Answer())
        self._answers.move_to_end(shape)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        async with answer.asking:
            if self._clock.monotonic() - answer.asked >= HOLDS_SECONDS:
                answer.objection = await self._ask(job, answer.objection)
                answer.asked = self._clock.monotonic()
            return answer.objection

    async def _ask(self, job: JsonObject, before: str | None) -> str | None:
        namespace, name = key_of(job)
        try:
            whole = await self._kubernetes.get(JOBS, namespace, name)
            return await self._objection_to_pod(namespace, whole["spec"]["template"])
        except NotFoundError:
            raise
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("What hinders the pod of Job %s could not be found out: %s", name, error)
            return before

    async def _objection_to_pod(self, namespace: str, template: JsonObject) -> str | None:
        try:
            await dry_run(self._kubernetes, namespace, template)
        except (InvalidError, ForbiddenError) as error:
            return error.message
        return None
