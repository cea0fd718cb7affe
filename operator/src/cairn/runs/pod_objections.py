"""Asks what the API server has against the pods of Jobs that have none.

The Job controller tells that in an Event only. What it met with, such as a quota, a dry run meets with as well. A thousand
Jobs may wait for a controller that is slow, so that one question is for all Jobs with pods of the same shape.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass, field

from cairn.api.base import JsonObject
from cairn.clients.clock import Clock
from cairn.clients.kubernetes import JOBS, ForbiddenError, InvalidError, Kubernetes
from cairn.clients.store import key_of
from cairn.runs import naming
from cairn.runs.admission import dry_run

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
        """Return what the API server says against the pod of a Job, or None.

        Where it cannot judge, whoever asks for the same next gets what it said before.

        Raises:
            NotFoundError: the Job is gone.
            ApiError: the API server could not judge.
        """
        metadata = job["metadata"]
        shape = (metadata.get("annotations") or {}).get(naming.POD_SHAPE_ANNOTATION, metadata["uid"])
        answer = self._answers.setdefault(shape, _Answer())
        self._answers.move_to_end(shape)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        async with answer.asking:
            if self._clock.monotonic() - answer.asked >= HOLDS_SECONDS:
                whole = await self._kubernetes.get(JOBS, *key_of(job))
                answer.asked = self._clock.monotonic()
                answer.objection = await self._ask(whole)
            return answer.objection

    async def _ask(self, job: JsonObject) -> str | None:
        try:
            await dry_run(self._kubernetes, job["metadata"]["namespace"], job["spec"]["template"])
        except (InvalidError, ForbiddenError) as error:
            return error.message
        return None
