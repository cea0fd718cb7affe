"""What experiment trackers are given to hold, and what they can be asked for.

The terms are MLflow's: params are texts that do not change, metrics numbers, tags anything else; datasets are what was read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cairn.components.errors import ComponentError
from cairn.components.model_versions import RegistryClient

RecordState = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Metric:
    """A number, and when it was known, in milliseconds."""

    name: str
    value: float
    moment: int


@dataclass(frozen=True)
class Dataset:
    """What a step has read."""

    name: str
    uri: str
    digest: str
    """Whole, with `sha256:`; empty where it is not known."""


@dataclass(frozen=True)
class Record:
    """What is to be held of a run or an attempt."""

    name: str
    started: int
    """In milliseconds."""
    tags: Mapping[str, str]
    """Those that it has from its beginning."""
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    state: RecordState = "RUNNING"
    ended: int | None = None
    """In milliseconds; None while it goes on."""
    closing_tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is known at its end."""
    metrics: Sequence[Metric] = ()
    datasets: Sequence[Dataset] = ()


@dataclass(frozen=True)
class FoundRecord:
    """What a tracker has of a run, of an attempt, or that a step's own code has made."""

    id: str
    parent: str | None
    state: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    is_empty: bool
    """Whether it goes on, and has neither params nor metrics."""


class TrackerError(ComponentError):
    """A tracker does not do what it is asked for."""


class TrackerUnavailableError(TrackerError):
    """It does nothing for anybody now: it cannot be reached, fails, or knows the log-in no more."""


class RecordGoneError(TrackerError):
    """It has the record no more, or the experiment."""


class TrackerClient(ABC):
    """The operator's way into a tracker. Methods raise TrackerError."""

    @property
    @abstractmethod
    def registry(self) -> RegistryClient:
        """The way into its model registry."""

    @abstractmethod
    async def experiment(self, name: str) -> str:
        """Return the ID of an experiment, which is created if it is not there."""

    @abstractmethod
    async def find(self, experiment: str, tags: Mapping[str, str]) -> Sequence[FoundRecord]:
        """Return the records of an experiment with these tags, the oldest first."""

    @abstractmethod
    async def create(self, experiment: str, record: Record, parent: str | None) -> str:
        """Begin to hold a record, with its tags, below another one; return its ID."""

    @abstractmethod
    async def describe(self, record_id: str, *, params: Mapping[str, str], datasets: Sequence[Dataset]) -> None:
        """Hold params and datasets of a record; the same again changes nothing."""

    @abstractmethod
    async def finish(self, record_id: str, record: Record) -> None:
        """Hold how a record has ended; again, with another end, puts that in place of it."""

    @abstractmethod
    async def take_over(self, record_id: str, record: Record, parent: str) -> None:
        """Make what a step's own code has recorded the record itself: with its name and tags, below another one."""

    @abstractmethod
    async def adopt(self, found: FoundRecord, parent: str, record: Record) -> None:
        """Put what a step's own code has recorded below the record of its attempt, and end it as that has ended unless it has."""

    @abstractmethod
    async def delete(self, record_id: str) -> None:
        """Hold a record no longer."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""
