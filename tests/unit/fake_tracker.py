"""An experiment tracker in memory, as the operator itself reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from cairn.clients.cluster import Cluster
from cairn.components.connections import Connections, Reachable
from cairn.components.model_versions import ModelVersion, RegistryClient
from cairn.components.records import (
    Dataset,
    FoundRecord,
    Record,
    RecordGoneError,
    TrackerClient,
    TrackerError,
    TrackerUnavailableError,
)

AWAY = TrackerUnavailableError("EndpointUnreachable", "The tracker cannot be reached; see whether it runs.")
REFUSED = TrackerError("RequestRefused", "The tracker refuses the request.")


@dataclass
class Held:
    """What is held of a record."""

    name: str
    parent: str | None
    state: str = "RUNNING"
    ended: int | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])
    params: dict[str, str] = field(default_factory=dict[str, str])
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    datasets: list[str] = field(default_factory=list[str])


class FakeRegistry(RegistryClient):
    """Versions of models, and their aliases."""

    def __init__(self, tracker: FakeTracker) -> None:
        self._tracker = tracker
        self.versions: list[ModelVersion] = []
        self.aliases: dict[str, str] = {}
        """Which version bears an alias."""
        self.tags: dict[str, dict[str, str]] = {}
        """What was added to versions later."""

    async def register(self, version: ModelVersion) -> str:
        await self._tracker.answer("register", version.model)
        for number, known in enumerate(self.versions, start=1):
            if (known.uri, known.digest) == (version.uri, version.digest):
                return str(number)
        self.versions.append(version)
        return str(len(self.versions))

    async def approver(self, model: str, alias: str, version: str) -> str | None:
        await self._tracker.answer("approver", alias)
        tags = self.tags.get(version, {})
        has_it = self.aliases.get(alias) == version and tags.get("cairn.approval") == "Approved"
        return tags.get("cairn.approval.by") if has_it else None

    async def set_alias(self, model: str, alias: str, version: str) -> None:
        await self._tracker.answer("set alias", alias)
        self.aliases[alias] = version

    async def drop_alias(self, model: str, alias: str, version: str) -> None:
        await self._tracker.answer("drop alias", alias)
        if self.aliases.get(alias) == version:
            del self.aliases[alias]

    async def tag_version(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        await self._tracker.answer("tag", version)
        self.tags.setdefault(version, {}).update(tags)


class FakeTracker(TrackerClient):
    """A tracker that can be out of order, and keep everybody waiting."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.held: dict[str, Held] = {}
        self.asked: list[str] = []
        """What was asked for, in order, with the name of what it is about."""
        self.problem: TrackerError | None = None
        """What is wrong with the tracker, if anything is."""
        self.refused: set[str] = set()
        """Names of records that it does not take."""
        self.loses_answers = False
        """Whether it does what it is asked for, and does not say so."""
        self.answers = asyncio.Event()
        """Cleared while the tracker keeps everybody waiting."""
        self.answers.set()
        self._numbers = count(1)
        self._registry = FakeRegistry(self)

    @property
    def registry(self) -> FakeRegistry:
        """The registry of models beside it, as out of order as the tracker is."""
        return self._registry

    def named(self, name: str) -> Held:
        """Return the one record of that name."""
        (held,) = [held for held in self.held.values() if held.name == name]
        return held

    def put(self, name: str, tags: Mapping[str, str], *, parent: str | None = None, state: str = "RUNNING") -> Held:
        """Hold what somebody else records."""
        held = self.held[f"id-{next(self._numbers)}"] = Held(name, parent, state, tags=dict(tags))
        return held

    async def experiment(self, name: str) -> str:
        await self.answer("experiment", name)
        return self.experiments.setdefault(name, f"experiment-{len(self.experiments)}")

    async def find(self, experiment: str, tags: Mapping[str, str]) -> Sequence[FoundRecord]:
        await self.answer("find", "")
        return [
            FoundRecord(
                record_id,
                held.parent,
                held.state,
                dict(held.tags),
                dict(held.params),
                is_empty=held.state == "RUNNING" and not held.params and not held.metrics,
            )
            for record_id, held in self.held.items()
            if tags.items() <= held.tags.items()
        ]

    async def create(self, experiment: str, record: Record, parent: str | None) -> str:
        if self.loses_answers:
            self.put(record.name, record.tags, parent=parent)
            raise AWAY
        await self.answer("create", record.name)
        self.put(record.name, record.tags, parent=parent)
        return list(self.held)[-1]

    async def describe(self, record_id: str, *, params: Mapping[str, str], datasets: Sequence[Dataset]) -> None:
        held = await self._held("describe", record_id)
        held.params |= params
        held.datasets += [dataset.name for dataset in datasets if dataset.name not in held.datasets]

    async def finish(self, record_id: str, record: Record) -> None:
        held = await self._held("finish", record_id)
        held.state, held.ended = record.state, record.ended
        held.tags |= record.closing_tags
        held.metrics |= {metric.name: metric.value for metric in record.metrics}

    async def take_over(self, record_id: str, record: Record, parent: str) -> None:
        held = await self._held("take over", record_id)
        held.name, held.parent = record.name, parent
        held.tags |= record.tags

    async def adopt(self, found: FoundRecord, parent: str, record: Record) -> None:
        held = await self._held("adopt", found.id)
        held.parent = parent
        if held.state == "RUNNING":
            held.state, held.ended = record.state, record.ended

    async def delete(self, record_id: str) -> None:
        await self._held("delete", record_id)
        del self.held[record_id]

    async def close(self) -> None:
        """Nothing is open."""

    async def _held(self, what: str, record_id: str) -> Held:
        name = self.held[record_id].name if record_id in self.held else record_id
        await self.answer(what, name)
        if record_id not in self.held:
            raise RecordGoneError("RecordGone", f"The tracker has no record {record_id}.")
        return self.held[record_id]

    async def answer(self, what: str, name: str) -> None:
        """Answer, or be as out of order as the test says."""
        self.asked.append(f"{what} {name}".strip())
        await self.answers.wait()
        if self.problem is not None:
            raise self.problem
        if name in self.refused:
            raise REFUSED


class OneTrackerForAll(Connections[TrackerClient]):
    """Opens the same tracker whatever a component says."""

    def __init__(self, cluster: Cluster, tracker: TrackerClient) -> None:
        super().__init__(cluster)
        self._tracker = tracker

    async def client_of(self, component: Reachable[TrackerClient]) -> TrackerClient:
        return self._tracker
