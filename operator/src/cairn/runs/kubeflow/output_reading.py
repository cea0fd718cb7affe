"""Reads what the steps of a run have written, beside everything else: it may take longer than anything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cairn.api.step import Step
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN
from cairn.components.errors import ComponentError
from cairn.runs.kubeflow.outputs import NOTHING, OutputsInvalidError, StepOutputs, writes_nothing

logger = logging.getLogger(__name__)

Read = Callable[[Step], Awaitable[StepOutputs]]
"""Returns what a step has written; raises ComponentError, ApiError."""
UNFORESEEN = ComponentError(
    "FollowingFailed", "Cairn fails in a way that it does not foresee; its log says how. Report it."
)


class OutputReading:
    """Of one run."""

    def __init__(self, told: Callable[[], None]) -> None:
        """Begin; `told` is called when there is more, or something else is wrong."""
        self._told = told
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.outputs: dict[str, StepOutputs | ComponentError] = {}
        """What each step has written, or why that is not known."""

    def is_done(self, step: str) -> bool:
        """Return whether another try would find the same."""
        return isinstance(self.outputs.get(step), StepOutputs | OutputsInvalidError)

    def begin(self, step: Step, read: Read) -> None:
        """Read what a step has written, unless that goes on."""
        if writes_nothing(step):
            self.outputs[step.name] = NOTHING
        elif step.name not in self._tasks:
            self._tasks[step.name] = asyncio.create_task(self._read(step, read))

    def stop(self) -> None:
        """Stop reading."""
        for task in self._tasks.values():
            task.cancel()

    async def _read(self, step: Step, read: Read) -> None:
        before = self.outputs.get(step.name)
        try:
            self.outputs[step.name] = await read(step)
        except ComponentError as error:
            self.outputs[step.name] = error
        except CAN_BE_TRIED_AGAIN as error:
            logger.warning("What step %s has written cannot be read: %s", step.name, error)
        except Exception:
            logger.exception("What step %s has written cannot be read", step.name)
            self.outputs[step.name] = UNFORESEEN
        finally:
            del self._tasks[step.name]
        if str(before) != str(self.outputs.get(step.name)):
            self._told()
