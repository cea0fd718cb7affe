"""Downloads one artifact beside its place, verifies it, and moves it there when it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cairn.step.errors import (
    ARTIFACT_CORRUPT,
    INPUT_INVALID,
    INPUT_MISSING,
    ObjectMissingError,
    StepError,
    of_disk,
)
from cairn.step.limits import Budget, Stop, for_each
from cairn.step.manifest import SIZE_LIMIT, SUFFIX, FileEntry, Manifest, check_path, digest_of
from cairn.step.tree import FILE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Generator

    from cairn.step.plan import Input
    from cairn.step.stores import Object, Store

FILES_AT_ONCE: Final = 16
MEMORY: Final = 24 * 1024 * 1024
MEMORY_OF_A_FILE: Final = 4 * 1024 * 1024
DIRECTORY_MODE: Final = 0o755
FILE_MODE: Final = 0o644
EXECUTABLE_MODE: Final = 0o755


@dataclass(frozen=True)
class Fetched:
    """What was downloaded."""

    digest: str
    size: int
    files: int


class Downloader:
    """Downloads artifacts."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._budget = Budget(MEMORY)

    async def download(self, artifact: Input, store: Store, key: str) -> Fetched:
        """Download an artifact to its path, replacing what is there."""
        partial = partial_path(artifact.path)
        with _disk(artifact):
            artifact.path.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(_discard, partial)
        try:
            fetched = await self._any(artifact, store, key, partial)
            with _disk(artifact):
                await asyncio.to_thread(_discard, artifact.path)
                partial.rename(artifact.path)
        finally:
            await asyncio.to_thread(_discard, partial)
        return fetched

    async def _any(self, artifact: Input, store: Store, key: str, partial: Path) -> Fetched:
        if not key.endswith("/"):
            try:
                return await self._file(artifact, store, key, partial)
            except ObjectMissingError:
                pass
        base = key.rstrip("/")
        manifest = await self._manifest(artifact, store, base)
        if manifest is not None:
            return await self._directory(artifact, store, base, manifest, partial)
        if key.endswith("/") and artifact.digest is None:
            return await self._prefix(artifact, store, base, partial)
        raise StepError(
            INPUT_MISSING,
            f"Input artifact {artifact.name}: there is nothing at {artifact.uri}, or not all of it; "
            "run the step that makes it again.",
        )

    async def _file(self, artifact: Input, store: Store, key: str, partial: Path) -> Fetched:
        entry = await self._object(artifact, store, FileEntry("", -1, ""), key, partial)
        digest = f"sha256:{entry.sha256}"
        if artifact.digest not in {None, digest}:
            raise _corrupt(artifact, f"has digest {digest}, recorded was {artifact.digest}")
        return Fetched(digest, entry.size, 1)

    async def _manifest(self, artifact: Input, store: Store, key: str) -> Manifest | None:
        data = bytearray()
        try:
            async for chunk in store.get(key + SUFFIX):
                data += chunk
                if len(data) > SIZE_LIMIT:
                    raise _corrupt(artifact, "has a manifest that is too large")
        except ObjectMissingError:
            return None
        digest = digest_of(bytes(data))
        if artifact.digest not in {None, digest}:
            raise _corrupt(artifact, f"has digest {digest}, recorded was {artifact.digest}")
        try:
            return Manifest.parse(bytes(data))
        except ValueError as error:
            raise _corrupt(artifact, f"has a manifest that cannot be used: {error}") from error

    async def _directory(self, artifact: Input, store: Store, key: str, manifest: Manifest, partial: Path) -> Fetched:
        await self._files(artifact, store, key, manifest, partial)
        return Fetched(artifact.digest or manifest.digest, manifest.size, len(manifest.files))

    async def _prefix(self, artifact: Input, store: Store, key: str, partial: Path) -> Fetched:
        found: list[Object] = []
        async for item in store.list(key):
            found.append(item)
            if len(found) > FILE_LIMIT:
                raise StepError(
                    INPUT_INVALID,
                    f"Input artifact {artifact.name}: {artifact.uri} has more than {FILE_LIMIT:,} files; "
                    "name a longer prefix or pack them into an archive.",
                )
        wanted = Manifest.of(listed_files(found, key), ())
        if not wanted.files:
            raise StepError(
                INPUT_MISSING,
                f"Input artifact {artifact.name}: there is nothing below {artifact.uri}; check the URI.",
            )
        entries = await self._files(artifact, store, key, wanted, partial)
        manifest = Manifest.of(entries, ())
        return Fetched(manifest.digest, manifest.size, len(manifest.files))

    async def _files(
        self, artifact: Input, store: Store, key: str, manifest: Manifest, partial: Path
    ) -> list[FileEntry]:
        with _disk(artifact):
            await asyncio.to_thread(_make_directories, partial, manifest)
        entries: list[FileEntry] = []

        async def download(entry: FileEntry) -> None:
            try:
                async with self._budget.take(min(max(entry.size, 64 * 1024), MEMORY_OF_A_FILE)):
                    source, target = f"{key}/{entry.path}", partial / entry.path
                    entries.append(await self._object(artifact, store, entry, source, target))
            except ObjectMissingError:
                raise _corrupt(artifact, f"has lost its file {entry.path}") from None

        await for_each(manifest.files, download, at_once=FILES_AT_ONCE, stop=self._stop)
        return entries

    async def _object(self, artifact: Input, store: Store, entry: FileEntry, key: str, target: Path) -> FileEntry:
        """Download one object and compare it with the entry's digest, where it has one."""
        digest = hashlib.sha256()
        size = 0
        chunks = store.get(key)
        first = await anext(chunks, None)  # before the file is made: there may be no such object
        with _disk(artifact), FileIO(target, "xb") as file:

            def keep(chunk: memoryview) -> int:
                digest.update(chunk)
                return _write(file, chunk)

            if first is not None:
                size += await asyncio.to_thread(keep, first)
            async for chunk in chunks:
                self._stop.check()
                size += await asyncio.to_thread(keep, chunk)
            os.fchmod(file.fileno(), EXECUTABLE_MODE if entry.executable else FILE_MODE)
        if entry.sha256 and (entry.size, entry.sha256) != (size, digest.hexdigest()):
            raise _corrupt(
                artifact,
                f"has the file {entry.path} with {size} bytes and other content than its manifest says",
            )
        return replace(entry, size=size, sha256=digest.hexdigest())


def listed_files(found: list[Object], prefix: str) -> list[FileEntry]:
    """Return the files among listed objects, without the empty objects that stand for directories."""
    paths = {item.key.removeprefix(prefix).lstrip("/"): item.size for item in found}
    parents = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    files = [FileEntry(path, size, "") for path, size in paths.items() if path and (size or path not in parents)]
    for file in files:
        check_path(file.path)
    return files


def partial_path(path: Path) -> Path:
    """Return where an artifact lies until it is whole: a fixed sibling, which a restart finds and removes."""
    return path.with_name(f".cairn-partial-{hashlib.sha256(path.name.encode()).hexdigest()[:16]}")


def _make_directories(root: Path, manifest: Manifest) -> None:
    wanted = {root}
    for directory in (*(Path(file.path).parent for file in manifest.files), *map(Path, manifest.directories)):
        path = root / directory
        while path not in wanted:
            wanted.add(path)
            path = path.parent
    for path in sorted(wanted):
        path.mkdir()
        path.chmod(DIRECTORY_MODE)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(file: FileIO, chunk: memoryview) -> int:
    written = 0
    while written < len(chunk):
        written += file.write(chunk[written:])
    return written


@contextmanager
def _disk(artifact: Input) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise of_disk(error, f"Input artifact {artifact.name}") from error


def _corrupt(artifact: Input, problem: str) -> StepError:
    return StepError(
        ARTIFACT_CORRUPT,
        f"Input artifact {artifact.name} at {artifact.uri} {problem}; run the step that makes it again.",
    )
