from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from cairn.runs.cel import Answer, Question
from cairn.runs.cel_evaluator import TOO_LARGE, TOO_LONG, ProcessEvaluator

LONG_TEXT = "".join(random.Random(1).choices("ab", k=4096))  # noqa: S311 - nothing is to be kept secret


def asks(expression: str, text: str = "full") -> Question:
    return Question(expression, frozenset({("params.x", "string")}), (("params.x", text),))


def grows(levels: int) -> str:
    """Return an expression whose text grows fourfold with each level."""
    names = ["params.x", *"abcdefghijklmnop"[:levels]]
    opened = "".join(f"[{'+'.join([one] * 4)}].exists({bound}," for one, bound in pairwise(names))
    return f"{opened}size({names[-1]}) > 0{')' * levels}"


def loops(times: int) -> str:
    """Return an expression that looks for a text that is costly to find, that often squared."""
    numbers = f"[{','.join(['0'] * times)}]"
    return f"{numbers}.all(v, {numbers}.all(w, !params.x.matches('(a|b)*a(a|b){{14}}c')))"


@pytest.fixture
async def evaluator() -> AsyncIterator[ProcessEvaluator]:
    evaluator = ProcessEvaluator()
    yield evaluator
    await evaluator.stop()


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("params.x == 'full'", Answer(holds=True)),
        ("params.x == 'quick'", Answer(holds=False)),
        ("1 / 0 == 1", Answer(problem="divide by zero")),
    ],
)
async def test_an_expression_is_evaluated(evaluator: ProcessEvaluator, expression: str, answer: Answer):
    assert await evaluator.evaluate(asks(expression)) == answer


@pytest.mark.parametrize(("levels", "answer"), [(3, Answer(holds=True)), (12, TOO_LARGE)])
async def test_one_that_needs_too_much_memory_is_given_up(evaluator: ProcessEvaluator, levels: int, answer: Answer):
    assert await evaluator.evaluate(asks(grows(levels), LONG_TEXT)) == answer


async def test_one_that_takes_too_long_is_given_up(evaluator: ProcessEvaluator):
    assert await evaluator.evaluate(asks(loops(90), LONG_TEXT)) == TOO_LONG


async def test_the_next_one_is_evaluated_after_that(evaluator: ProcessEvaluator):
    await evaluator.evaluate(asks(grows(12), LONG_TEXT))

    assert await evaluator.evaluate(asks("params.x == 'full'")) == Answer(holds=True)


async def test_one_that_is_given_up_by_who_asked_does_not_answer_the_next_one(evaluator: ProcessEvaluator):
    asked = asyncio.create_task(evaluator.evaluate(asks(loops(90), LONG_TEXT)))
    await asyncio.sleep(0.2)  # the process is busy with it by then, which it does not tell
    asked.cancel()

    assert await evaluator.evaluate(asks("params.x == 'full'")) == Answer(holds=True)
