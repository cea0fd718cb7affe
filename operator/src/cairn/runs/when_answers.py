"""What the expressions of runs amount to, found out beside the reconciles."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cairn.clients.store import Key
from cairn.clients.wake import Wake
from cairn.runs.cel import Answer, Question
from cairn.runs.cel_evaluator import Evaluator

AWAITED_SECONDS = 0.5
"""How long a reconcile waits for answers; that run is reconciled again when they are there."""


@dataclass
class _Asked:
    """What was asked for a run."""

    answers: dict[Question, Answer] = field(default_factory=dict[Question, Answer])
    too_costly: dict[str, Answer] = field(default_factory=dict[str, Answer])
    """By the expression, which is not evaluated again with other values."""
    under_way: asyncio.Task[None] | None = None


class WhenAnswers:
    """Has questions answered, one of each run in its turn; an answer never changes, so it is kept as long as its run goes on."""

    def __init__(self, evaluator: Evaluator, wake: Wake) -> None:
        """Make it; `wake` has a run reconciled whose answers have come late."""
        self._evaluator = evaluator
        self._wake = wake
        self._asked: dict[Key, _Asked] = {}

    def known(self, key: Key) -> Mapping[Question, Answer]:
        """Return what is known by now of a run's questions."""
        asked = self._asked.get(key)
        return asked.answers if asked is not None else {}

    async def find_out(self, key: Key, questions: Collection[Question]) -> bool:
        """Have questions answered; return whether they were within a moment.

        Raises:
            OSError: nothing can be evaluated now.
        """
        asked = self._asked.setdefault(key, _Asked())
        if asked.under_way is None:
            asked.under_way = asyncio.create_task(self._answer(asked, questions))
        task = asked.under_way
        await asyncio.wait({task}, timeout=AWAITED_SECONDS)
        if not task.done():
            task.add_done_callback(lambda ended: None if ended.cancelled() else self._wake(key))
            return False
        asked.under_way = None
        task.result()
        return True

    def forget(self, key: Key) -> None:
        """Forget a run: it is over."""
        asked = self._asked.pop(key, None)
        if asked is not None and asked.under_way is not None:
            asked.under_way.cancel()

    def stop(self) -> None:
        """Stop what is under way."""
        for key in list(self._asked):
            self.forget(key)

    async def _answer(self, asked: _Asked, questions: Collection[Question]) -> None:
        for question in questions:
            answer = asked.too_costly.get(question.expression) or await self._evaluator.evaluate(question)
            if answer.is_too_costly:
                asked.too_costly[question.expression] = answer
            asked.answers[question] = answer
