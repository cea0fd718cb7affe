"""A process that evaluates CEL expressions, one line of JSON each, and dies of one that costs too much.

    python -m cairn.runs.cel_process SECONDS BYTES

SECONDS of CPU is what each evaluation may take, BYTES what the process may keep in memory.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from dataclasses import asdict
from typing import Any

from cairn.runs.cel import Answer, Question, evaluate


def main(seconds: float, memory: int) -> None:
    """Answer what comes from standard input until that ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends the process, whatever it is busy with
        answer = _answer(line)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(f"{json.dumps(asdict(answer))}\n")
        sys.stdout.flush()


def _answer(line: str) -> Answer:
    try:
        return evaluate(question_from(json.loads(line)))
    except MemoryError:
        sys.exit(1)


def text_of(question: Question) -> str:
    """Return a question as a line of text."""
    return json.dumps([question.expression, sorted(question.declared), question.values])


def question_from(parts: Any) -> Question:
    """Return the question that such a line holds."""
    expression, declared, values = parts
    return Question(
        expression, frozenset((name, kind) for name, kind in declared), tuple((name, value) for name, value in values)
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
