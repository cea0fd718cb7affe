"""A step's pod and its artifact store, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from obstore.store import MemoryStore

from cairn.step import commands
from cairn.step.errors import StepError
from cairn.step.limits import Stop
from cairn.step.plan import FetchPlan, Input, LocalSettings, Output, PublishPlan
from cairn.step.stores import Store, Stores

if TYPE_CHECKING:
    from pathlib import Path

BASE = "pvc://claim/team/wine/run-1/train"


class MemoryStores(Stores):
    """Keeps everything in memory."""

    def __init__(self, settings: LocalSettings) -> None:
        super().__init__(settings)
        self._memory = Store(MemoryStore(), "Artifact store in memory")

    def _store(self, bucket: str) -> Store:
        return self._memory


class Pod:
    """What fetch and publish of one step see: `out` is what the step wrote, `into` what it will read."""

    def __init__(self, directory: Path, stores: Stores) -> None:
        self.out = directory / "out"
        self.into = directory / "into"
        self.out.mkdir(parents=True)
        self.stores = stores
        self.stop = Stop()

    @property
    def store(self) -> Store:
        return self.stores.locate(f"{BASE}/any")[0]

    def file(self, path: str, content: bytes = b"content") -> Path:
        file = self.out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def output(self, name: str) -> Output:
        return Output(name, f"{BASE}/{name}", self.out / name, f"/out/{name}")

    async def publish(self, *names: str, results: Path | None = None) -> dict[str, Any]:
        plan = PublishPlan(LocalSettings(self.out, "claim"), tuple(map(self.output, names)), results)
        return await commands.publish(plan, self.stores, self.stop)

    async def fetch(self, name: str, digest: str | None = None, uri: str | None = None) -> Path:
        target = self.into / name
        artifact = Input(name, uri or f"{BASE}/{name}", target, digest)
        plan = FetchPlan(LocalSettings(self.out, "claim"), (artifact,))
        await commands.fetch(plan, self.stores, self.stop)
        return target

    async def refusal_of_publish(self, *names: str, results: Path | None = None) -> StepError:
        with pytest.raises(StepError) as caught:
            await self.publish(*names, results=results)
        return caught.value

    async def refusal_of_fetch(self, name: str, digest: str | None = None, uri: str | None = None) -> StepError:
        with pytest.raises(StepError) as caught:
            await self.fetch(name, digest, uri)
        return caught.value

    async def keys(self) -> list[str]:
        prefix = BASE.removeprefix("pvc://claim/")
        return sorted([found.key.removeprefix(prefix + "/") async for found in self.store.list(prefix)])


def local_stores(root: Path) -> Stores:
    root.mkdir()
    return Stores(LocalSettings(root, "claim"))


@pytest.fixture(params=["memory", "local"])
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Pod:
    """A pod, with each kind of store in turn."""
    if request.param == "memory":
        return Pod(tmp_path / "pod", MemoryStores(LocalSettings(tmp_path, "claim")))
    return Pod(tmp_path / "pod", local_stores(tmp_path / "store"))


def tree_of(directory: Path) -> dict[str, bytes | None]:
    """Return what lies below a directory: content by path, None for directories."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes() for path in directory.rglob("*")
    }
