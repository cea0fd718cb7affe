"""Uploads one artifact so that it never looks complete before it is.

A file is one object, which a store shows only when it is whole. A directory is its files below `<key>/` and
a manifest at `<key>.manifest.json`, without which it does not count. An older artifact at the same key loses
its manifest first, then what is no longer part of it; some servers could not hold the new one beside the old
(`a` and `a/b` at the same time).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING, Final

from cairn.step.errors import OUTPUT_INVALID, StepError, StoppedError, of_output
from cairn.step.limits import Budget, Stop, for_each
from cairn.step.manifest import SUFFIX, FileEntry, Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cairn.step.stores import Store
    from cairn.step.tree import LocalFile, Tree

MIB: Final = 1024 * 1024
PART_SIZE: Final = 8 * MIB
PARTS_LIMIT: Final = 10_000  # of S3
PARTS_AT_ONCE: Final = 3
FILES_AT_ONCE: Final = 16
MEMORY: Final = 24 * MIB
DELETES_AT_ONCE: Final = 500
DRAIN_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Published:
    """What was uploaded."""

    digest: str
    size: int


class Uploader:
    """Uploads artifacts within one bound on memory."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._budget = Budget(MEMORY)

    async def upload(self, tree: Tree, store: Store, key: str) -> Published:
        """Upload a surveyed output to the key, in place of an older artifact there."""
        await self._make_room(tree, store, key)
        if tree.is_directory:
            return await self._directory(tree, store, key)
        entry = await self._file(tree, tree.files[0], store, key)
        return Published(f"sha256:{entry.sha256}", entry.size)

    async def _make_room(self, tree: Tree, store: Store, key: str) -> None:
        """Remove what the new artifact will not overwrite; the manifest first, so that nothing counts meanwhile."""
        keep = {f"{key}/{file.relative}" for file in tree.files if tree.is_directory}
        stale = [found.key async for found in store.list(key) if found.key not in keep]
        if tree.is_directory and await store.exists(key):
            stale.append(key)
        if await store.exists(key + SUFFIX):
            await store.delete([key + SUFFIX])
        for start in range(0, len(stale), DELETES_AT_ONCE):
            self._stop.check()
            await store.delete(stale[start : start + DELETES_AT_ONCE])

    async def _directory(self, tree: Tree, store: Store, key: str) -> Published:
        entries: list[FileEntry] = []

        async def upload(file: LocalFile) -> None:
            entries.append(await self._file(tree, file, store, f"{key}/{file.relative}"))

        await for_each(tree.files, upload, at_once=FILES_AT_ONCE, stop=self._stop)
        manifest = Manifest.of(entries, tree.empty_directories)
        self._stop.check()
        await store.put(key + SUFFIX, manifest.encode())
        return Published(manifest.digest, manifest.size)

    async def _file(self, tree: Tree, file: LocalFile, store: Store, key: str) -> FileEntry:
        part_size = max(PART_SIZE, -(-file.size // PARTS_LIMIT))
        reader = _Reader(tree.output.name, file, self._stop)
        try:
            if file.size <= part_size:
                async with self._budget.take(max(file.size, 64 * 1024)):
                    await store.put(key, await asyncio.to_thread(reader.whole))
            else:
                at_once = max(1, min(PARTS_AT_ONCE, MEMORY // part_size))
                async with self._budget.take(MEMORY):
                    await store.put_parts(key, reader.parts(part_size), part_size=part_size, at_once=at_once)
        finally:
            reader.close()
        return FileEntry(file.relative, file.size, reader.sha256, file.executable)


class _Reader:
    """Reads a file once, hashing it on the way, and refuses it when it is not what the survey saw."""

    def __init__(self, artifact: str, file: LocalFile, stop: Stop) -> None:
        self._artifact = artifact
        self._file = file
        self._stop = stop
        self._hash = hashlib.sha256()
        self._handle: FileIO | None = None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def whole(self) -> bytes:
        data = self._read(self._file.size)
        self._check_end()
        return data

    async def parts(self, size: int) -> AsyncIterator[bytes]:
        remaining = self._file.size
        try:
            while remaining > 0:
                self._stop.check()
                data = await asyncio.to_thread(self._read, min(size, remaining))
                remaining -= len(data)
                if not remaining:  # the last part is handed over only when the file is known to be unchanged
                    await asyncio.to_thread(self._check_end)
                yield data
        except (StepError, StoppedError):
            # The upload is aborted next. Parts still on their way would arrive after that and stay in the store.
            await asyncio.sleep(DRAIN_SECONDS)
            raise

    def close(self) -> None:
        if self._handle:
            self._handle.close()

    def _open(self) -> FileIO:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = FileIO(os.open(self._file.source, flags), "rb")
        if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            handle.close()
            raise self._changed()
        return handle

    def _read(self, size: int) -> bytes:
        try:
            self._handle = self._handle or self._open()
            data = self._handle.read(size)
            while len(data) < size and (more := self._handle.read(size - len(data))):
                data += more
        except OSError as error:
            raise of_output(error, self._artifact, self._file.shown) from error
        if len(data) < size:
            raise self._changed()
        self._hash.update(data)
        return data

    def _check_end(self) -> None:
        if self._handle:
            found = os.fstat(self._handle.fileno())
            if (found.st_size, found.st_mtime_ns) != (self._file.size, self._file.mtime_ns):
                raise self._changed()

    def _changed(self) -> StepError:
        return StepError(
            OUTPUT_INVALID,
            f"Output artifact {self._artifact}: {self._file.shown} changed while it was uploaded; "
            "let everything that writes to it end before the step does.",
        )
