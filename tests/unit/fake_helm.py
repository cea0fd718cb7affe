"""Helm in memory: its revisions are Secrets of the API server in memory, and it does what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from cairn.api.base import JsonObject
from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.helm import Helm, HelmError, ReleaseStatus
from cairn.clients.kubernetes import SECRETS, NotFoundError
from cairn.clients.store import Key
from cairn.components.releases.keeper import ReleaseKeeper
from cairn.components.releases.naming import release_name
from tests.unit.fake_kubernetes import FakeKubernetes

CHARTS = Path(__file__).parents[2] / "charts"


class FakeHelm(Helm):
    """What is asked of it is in `asked`; `fails` says what is wrong, and what `holds` lasts until it is released."""

    def __init__(self, kubernetes: FakeKubernetes) -> None:
        super().__init__()
        self.kubernetes = kubernetes
        self.asked: list[str] = []
        self.values: JsonObject = {}
        self.fails: dict[str, str] = {}
        """Helm's words, by what it is asked to do; an upgrade that `refuses` leaves no revision."""
        self.objects: list[JsonObject] = []
        self.released = asyncio.Event()
        self.released.set()

    def hold(self) -> None:
        """Have what Helm does next last."""
        self.released.clear()

    async def description(self, namespace: str, name: str, revision: int) -> str:
        """Return what was said of a revision."""
        return f"revision {revision} did not become ready"

    async def manifest(self, namespace: str, name: str) -> Sequence[JsonObject]:
        """Return the objects that the test has put there."""
        if "manifest" in self.fails:
            raise HelmError(self.fails["manifest"])
        return self.objects

    async def upgrade(
        self, namespace: str, name: str, chart: Path, values: JsonObject, *, labels: Mapping[str, str], seconds: int
    ) -> None:
        self.asked.append("upgrade")
        self.values = values
        if "refuses" in self.fails:
            raise HelmError(self.fails["refuses"])
        statuses = self.statuses(namespace, name)
        number = len(statuses) + 1
        labels = {**(self.own_labels(namespace, name, number - 1) if statuses else {}), **labels}
        self.write(namespace, name, number, "pending-upgrade" if statuses else "pending-install", labels)
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.write(namespace, name, number, "failed", labels)
            raise
        if "upgrade" in self.fails:
            self.write(namespace, name, number, "failed", labels)
            raise HelmError(self.fails["upgrade"])
        self.deploy(namespace, name, number, labels)

    async def rollback(self, namespace: str, name: str, revision: int) -> None:
        self.asked.append(f"rollback to {revision}")
        if "rollback" in self.fails:
            raise HelmError(self.fails["rollback"])
        labels = self.own_labels(namespace, name, revision)
        self.deploy(namespace, name, len(self.statuses(namespace, name)) + 1, labels)

    async def uninstall(self, namespace: str, name: str, *, seconds: int) -> None:
        self.asked.append("uninstall")
        await self.released.wait()
        if "uninstall" in self.fails:
            raise HelmError(self.fails["uninstall"])
        for number in range(1, len(self.statuses(namespace, name)) + 1):
            self.kubernetes.remove(SECRETS, namespace, _secret(name, number))

    def deploy(self, namespace: str, name: str, number: int, labels: Mapping[str, str]) -> None:
        """Have a revision be the one that is deployed."""
        for earlier, status in enumerate(self.statuses(namespace, name), start=1):
            if status == "deployed":
                self.write(namespace, name, earlier, "superseded", self.labels(namespace, name, earlier))
        self.write(namespace, name, number, "deployed", labels)

    def write(self, namespace: str, name: str, number: int, status: ReleaseStatus, labels: Mapping[str, str]) -> None:
        """Keep a revision as Helm does."""
        own = {"owner": "helm", "name": name, "status": status, "version": str(number)}
        metadata = {"namespace": namespace, "name": _secret(name, number), "labels": {**labels, **own}}
        self.kubernetes.add(SECRETS, {"metadata": metadata})

    def statuses(self, namespace: str, name: str) -> list[str]:
        """Return the status of each revision, the oldest first."""
        numbers = (number for number in range(1, 100) if self._is_kept(namespace, name, number))
        return [self.labels(namespace, name, number)["status"] for number in numbers]

    def labels(self, namespace: str, name: str, number: int) -> dict[str, str]:
        """Return the labels of a revision."""
        return self.kubernetes.one(SECRETS, _secret(name, number), namespace)["metadata"]["labels"]

    def own_labels(self, namespace: str, name: str, number: int) -> dict[str, str]:
        """Return the labels that a revision was given, which Helm hands on to the next one."""
        labels = self.labels(namespace, name, number)
        return {key: value for key, value in labels.items() if key not in {"owner", "name", "status", "version"}}

    def _is_kept(self, namespace: str, name: str, number: int) -> bool:
        try:
            self.labels(namespace, name, number)
        except (KeyError, NotFoundError):
            return False
        return True


def release_keeper(cluster: Cluster, helm: Helm, clock: Clock | None = None) -> ReleaseKeeper:
    """Return a keeper of releases that wakes nobody."""

    def wake(_: Key) -> None:
        """Nobody has to be woken where a test asks again itself."""

    return ReleaseKeeper(
        cluster, helm, CHARTS, images={"mlflow": "cairn/mlflow:test"}, wake=wake, clock=clock or Clock()
    )


def statuses_of(helm: FakeHelm, component: Key) -> list[str]:
    """Return the status of each revision of a component's release."""
    return helm.statuses(component[0], release_name(component[1]))


def _secret(name: str, number: int) -> str:
    return f"sh.helm.release.v1.{name}.v{number}"
