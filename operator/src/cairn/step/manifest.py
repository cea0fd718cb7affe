"""The manifest of a directory: its files with digests, and the digest of the whole.

An example, shown with line breaks that the real one does not have:

    {"directories":["logs"],
     "files":[{"executable":true,"path":"bin/run","sha256":"9f86…","size":4},
              {"path":"weights/0.bin","sha256":"60303a…","size":1048576}],
     "version":1}

The bytes in the store are the canonical form: UTF-8 JSON without whitespace, keys sorted, `files` and
`directories` sorted by path, `directories` holding only those that are empty, `executable` present only when
true. The digest of the directory is the SHA-256 of these bytes, so `sha256sum` on the manifest object shows
it. Owners, times and other mode bits are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
SUFFIX: Final = ".manifest.json"
SIZE_LIMIT: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a directory; `path` is relative, with slashes."""

    path: str
    size: int
    sha256: str
    executable: bool = False


@dataclass(frozen=True)
class Manifest:
    """A directory as a value: equal trees have equal manifests."""

    files: tuple[FileEntry, ...]
    directories: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: Iterable[FileEntry], directories: Iterable[str]) -> Manifest:
        """Return the manifest of these files and empty directories, in whatever order they come."""
        return cls(tuple(sorted(files, key=lambda file: file.path)), tuple(sorted(directories)))

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest.

        Raises:
            ValueError: It is not one, or a path in it leads out of the directory.
        """
        try:
            document: Any = json.loads(data)
            if document["version"] != VERSION:
                raise ValueError(f"its version is {document['version']}, this program reads version {VERSION}")
            manifest = cls.of(map(_entry, document["files"]), map(str, document.get("directories", ())))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is not a manifest: {error!r}") from error
        for path in (*(file.path for file in manifest.files), *manifest.directories):
            check_path(path)
        return manifest

    def encode(self) -> bytes:
        """Return the canonical form."""
        document = {
            "version": VERSION,
            "files": [_document(file) for file in self.files],
            "directories": list(self.directories),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def digest(self) -> str:
        """The digest of the directory."""
        return digest_of(self.encode())

    @property
    def size(self) -> int:
        """The sizes of the files together."""
        return sum(file.size for file in self.files)


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_path(path: str) -> None:
    """Make sure that a relative path stays below the directory it is joined to.

    Raises:
        ValueError: It does not.
    """
    if not path or any(part in {"", ".", ".."} for part in path.split("/")) or "\0" in path:
        raise ValueError(f"its path {path!r} leads out of the directory")


def _entry(document: dict[str, Any]) -> FileEntry:
    return FileEntry(
        path=str(document["path"]),
        size=int(document["size"]),
        sha256=str(document["sha256"]),
        executable=bool(document.get("executable", False)),
    )


def _document(file: FileEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"path": file.path, "size": file.size, "sha256": file.sha256}
    return {**document, "executable": True} if file.executable else document
