"""How the attempts of a run are made, seen and stopped: what differs with where the orchestrator runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from cairn.api.base import JsonObject
from cairn.api.pipelinerun_status import PipelineRunStatus, StepStatus
from cairn.clients.store import Key
from cairn.runs.instances import RunSteps
from cairn.runs.planner import Observed, Plan
from cairn.runs.pod import PodContext
from cairn.runs.scheduling import Launch, Scheduler
from cairn.runs.step_plan import Refusal
from cairn.stacks.resolution import UsableStack


class Execution(ABC):
    """Carries out plans. Each request can be repeated, and what it holds can be found out again. Methods raise ApiError."""

    shares_environment: ClassVar[bool]
    """Whether all attempts of a step have the same variables."""

    @abstractmethod
    def scheduler(self, body: JsonObject, steps: RunSteps, stack: UsableStack) -> Scheduler | None:
        """Return what decides which steps start together; None where none of them is to be started any more."""

    @abstractmethod
    async def problem_of(self, context: PodContext, steps: RunSteps) -> str | None:
        """Return what speaks for good against a run that is about to start, or None.

        Raises:
            ApiError: it cannot be judged, or is refused for now.
        """

    @abstractmethod
    async def hold(self, body: JsonObject) -> JsonObject | None:
        """Make sure that a run is not gone before `release`, where that is needed; return it, None if it is gone."""

    @abstractmethod
    async def observe(
        self, body: JsonObject, steps: RunSteps, status: PipelineRunStatus, stack: UsableStack | None
    ) -> Observed:
        """Return the attempts that are there, but those that are over and recorded as such; the stack may be gone."""

    @abstractmethod
    async def look_for_unanswered(self, body: JsonObject) -> None:
        """Ask for all that was made for a run: it may have been made though no answer came."""

    @abstractmethod
    async def launch(self, context: PodContext, steps: RunSteps, launches: Sequence[Launch]) -> Mapping[str, Refusal]:
        """Make attempts; return the steps whose attempt was refused."""

    @abstractmethod
    async def stop(self, body: JsonObject, planned: Plan) -> None:
        """End attempts before they end by themselves."""

    @abstractmethod
    async def release_settled(self, body: JsonObject, steps: RunSteps, statuses: Iterable[StepStatus]) -> None:
        """Let go of what is recorded as over."""

    @abstractmethod
    async def release_of_others(self, body: JsonObject) -> None:
        """Let go of what is left of an earlier run of that name."""

    @abstractmethod
    async def end(self, body: JsonObject, status: PipelineRunStatus) -> float | None:
        """End what of a run that has ended still goes on, as the operator may have been stopped before it could; let go of all.

        Return in how many seconds to go on with that.
        """

    @abstractmethod
    async def release(self, key: Key, body: JsonObject | None) -> float | None:
        """Let go of all of a run that is being deleted, or is gone; return in how many seconds to go on with that."""

    @abstractmethod
    def shut_down(self) -> None:
        """Stop what is done beside the reconciles."""

    @abstractmethod
    async def close(self) -> None:
        """Close connections."""
