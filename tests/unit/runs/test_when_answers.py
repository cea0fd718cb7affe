from __future__ import annotations

import asyncio

import pytest

from cairn.clients.store import Key
from cairn.runs import when_answers
from cairn.runs.cel import Answer, Question
from cairn.runs.when_answers import WhenAnswers
from tests.unit.virtual_time import settle

RUN: Key = ("ml", "wine-1")
COSTLY = Answer(problem="it takes too long", is_too_costly=True)


def asks(expression: str, item: str = "x") -> Question:
    return Question(expression, frozenset({("item.value", "string")}), (("item.value", item),))


class Oracle:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer: Answer | OSError = Answer(holds=True)

    async def evaluate(self, question: Question) -> Answer:
        self.asked.append(question)
        await self.may_answer.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def answers(oracle: Oracle, woken: list[Key], monkeypatch: pytest.MonkeyPatch) -> WhenAnswers:
    monkeypatch.setattr(when_answers, "AWAITED_SECONDS", 0.01)
    return WhenAnswers(oracle, woken.append)


async def test_what_is_answered_is_known_for_that_run(answers: WhenAnswers):
    assert await answers.find_out(RUN, [asks("a")])

    assert answers.known(RUN) == {asks("a"): Answer(holds=True)}
    assert answers.known(("ml", "wine-2")) == {}


async def test_an_answer_that_takes_its_time_is_not_waited_for(answers: WhenAnswers, oracle: Oracle, woken: list[Key]):
    oracle.may_answer.clear()

    assert not await answers.find_out(RUN, [asks("a")])
    oracle.may_answer.set()
    await settle()

    assert (woken, answers.known(RUN)) == ([RUN], {asks("a"): Answer(holds=True)})


async def test_it_is_asked_once_however_often_the_run_is_reconciled_meanwhile(answers: WhenAnswers, oracle: Oracle):
    oracle.may_answer.clear()

    await answers.find_out(RUN, [asks("a")])
    await answers.find_out(RUN, [asks("a")])

    assert oracle.asked == [asks("a")]


async def test_an_expression_that_costs_too_much_is_not_evaluated_for_each_item(answers: WhenAnswers, oracle: Oracle):
    oracle.answer = COSTLY
    questions = [asks("a", str(index)) for index in range(3)]

    await answers.find_out(RUN, questions)

    assert len(oracle.asked) == 1
    assert answers.known(RUN) == dict.fromkeys(questions, COSTLY)


async def test_what_cannot_be_evaluated_now_is_asked_again(answers: WhenAnswers, oracle: Oracle):
    oracle.answer = OSError("no more processes")
    with pytest.raises(OSError, match="no more processes"):
        await answers.find_out(RUN, [asks("a")])
    oracle.answer = Answer(holds=True)

    assert await answers.find_out(RUN, [asks("a")])


async def test_a_run_that_is_forgotten_is_not_woken(answers: WhenAnswers, oracle: Oracle, woken: list[Key]):
    oracle.may_answer.clear()
    await answers.find_out(RUN, [asks("a")])

    answers.forget(RUN)
    oracle.may_answer.set()
    await settle()

    assert (woken, answers.known(RUN)) == ([], {})
