"""Evaluates CEL expressions in a process of its own: one that costs too much ends that process, not the operator."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Protocol, cast

from cairn.runs.cel import Answer, Question
from cairn.runs.cel_process import text_of

logger = logging.getLogger(__name__)

CPU_SECONDS = 1.0
"""What one evaluation may take."""
MEMORY_BYTES = 64 * 1024 * 1024
"""What the process may keep; some 20 MiB are its own."""
ANSWER_SECONDS = 60.0
"""How long an answer is waited for: on a busy machine a second of CPU takes longer."""
LONGEST_ANSWER = 1024 * 1024
"""Characters."""
TOO_LONG = Answer(problem=f"it takes longer than {CPU_SECONDS:g} s; make it simpler", is_too_costly=True)
TOO_LARGE = Answer(problem="it takes too much memory; make it simpler", is_too_costly=True)


class Evaluator(Protocol):
    """Finds out what expressions amount to."""

    async def evaluate(self, question: Question) -> Answer:
        """Return what an expression amounts to."""
        ...


class ProcessEvaluator:
    """Asks a process, which is started when it is needed, one question at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    async def evaluate(self, question: Question) -> Answer:
        """Return what an expression amounts to, or that it costs too much.

        Raises:
            OSError: the process could not be started.
        """
        async with self._turn:
            process = self._process = self._process or await _start()
            try:
                return await _ask(process, question)
            except BaseException:
                await self.stop()  # what it answers later would be taken for the answer to another question
                raise
            finally:
                if process.returncode is not None:
                    self._process = None

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


async def _start() -> Process:
    arguments = ("-m", "cairn.runs.cel_process", str(CPU_SECONDS), str(MEMORY_BYTES))
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=LONGEST_ANSWER
    )


async def _ask(process: Process, question: Question) -> Answer:
    questions, answers = cast(StreamWriter, process.stdin), cast(StreamReader, process.stdout)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            questions.write(f"{text_of(question)}\n".encode())
            await questions.drain()
            line = await answers.readline()
    except TimeoutError:
        process.kill()
        await process.wait()
        return TOO_LONG
    except ConnectionError:
        line = b""
    if line:
        return Answer(**json.loads(line))
    code = await process.wait()
    logger.warning("An expression cost too much to evaluate; the process that tried ended with %s", code)
    return TOO_LONG if code == -signal.SIGPROF else TOO_LARGE
