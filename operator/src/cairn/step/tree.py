"""What a declared output consists of, and what it must not: links out of it, devices, unusable names.

A symbolic link inside a directory that stays inside it is followed: what it leads to is stored a second time
under the link's name. An absolute link is understood as the step saw it, below the path that the step
declared; it becomes a relative one, since a later step of the same pod sees the directory itself, elsewhere.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cairn.step.errors import OUTPUT_INVALID, OUTPUT_MISSING, StepError, of_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cairn.step.plan import Output

FILE_LIMIT: Final = 50_000
LINK_LIMIT: Final = 40


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to upload.

    `relative` is its path in the artifact, empty when it is all of it; `shown` is its path for messages.
    """

    source: str
    relative: str
    shown: str
    size: int
    mtime_ns: int
    executable: bool


@dataclass(frozen=True)
class Tree:
    """A declared output as it was found."""

    output: Output
    is_directory: bool
    files: tuple[LocalFile, ...]
    empty_directories: tuple[str, ...] = ()
    absolute_links: tuple[tuple[str, str], ...] = ()
    """Where they are, and what would lead from there to the same place."""

    @property
    def size(self) -> int:
        """The sizes of the files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class _Directory:
    source: str
    relative: str
    ancestors: tuple[tuple[int, int], ...]


def check_all_exist(outputs: tuple[Output, ...]) -> None:
    """Make sure that every declared output is there before anything is uploaded.

    Raises:
        StepError: Some are missing; the message names them.
    """
    missing = [output for output in outputs if not os.path.lexists(output.path)]
    if missing:
        names = ", ".join(f"{output.name} at {output.declared_path}" for output in missing)
        raise StepError(
            OUTPUT_MISSING,
            f"Step ended without its output artifact {names}; write it there, or remove it from outputs.artifacts.",
        )


def survey(output: Output) -> Tree:
    """Walk over a declared output.

    Raises:
        StepError: There is something in it that cannot be published.
    """
    return _Survey(output).tree()


def make_links_relative(tree: Tree) -> None:
    """Replace the absolute links of a directory; one in a place that cannot be written to stays as it is."""
    for link, target in tree.absolute_links:
        partial = f"{link}.cairn-partial"
        with suppress(OSError):
            os.symlink(target, partial)  # noqa: PTH211
            os.replace(partial, link)  # noqa: PTH105


class _Survey:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._root = str(output.path)
        self._files: list[LocalFile] = []
        self._empty: list[str] = []
        self._absolute_links: dict[str, str] = {}

    def tree(self) -> Tree:
        found = self._stat(self._root, "", follow=False)
        if stat.S_ISLNK(found.st_mode):
            raise self._invalid("", "is a symbolic link; write the file or directory itself there")
        if output_is_elsewhere(self._output.path):
            raise self._invalid("", "is reached through a symbolic link; write it at the declared path itself")
        if not stat.S_ISDIR(found.st_mode):
            self._add_file(self._root, "", found)
            return Tree(self._output, is_directory=False, files=tuple(self._files))
        waiting = [_Directory(self._root, "", (_identity(found),))]
        entered = 0
        while waiting:
            waiting.extend(self._enter(waiting.pop()))
            entered += 1
            if entered > FILE_LIMIT:
                raise self._invalid("", f"has more than {FILE_LIMIT:,} directories; pack them into an archive")
        return Tree(
            self._output,
            is_directory=True,
            files=tuple(sorted(self._files, key=lambda file: file.relative)),
            empty_directories=tuple(sorted(self._empty)),
            absolute_links=tuple(self._absolute_links.items()),
        )

    def _enter(self, directory: _Directory) -> Iterator[_Directory]:
        try:
            names = os.listdir(directory.source)  # noqa: PTH208  # names, not as many Path objects
        except OSError as error:
            raise of_output(error, self._output.name, self._shown(directory.relative)) from error
        if not names and directory.relative:
            self._empty.append(directory.relative)
        for name in names:
            relative = f"{directory.relative}/{name}" if directory.relative else name
            self._check_name(name, relative)
            source = f"{directory.source}/{name}"
            found = self._stat(source, relative, follow=False)
            if stat.S_ISLNK(found.st_mode):
                source = self._inside(source, relative)
                found = self._stat(source, relative, follow=True)
            if not stat.S_ISDIR(found.st_mode):
                self._add_file(source, relative, found)
            elif _identity(found) in directory.ancestors:
                raise self._invalid(relative, "is a symbolic link to a directory that contains it; remove the link")
            else:
                yield _Directory(source, relative, (*directory.ancestors, _identity(found)))

    def _inside(self, link: str, relative: str) -> str:
        """Return where a link leads to, which must be below the root."""
        current = link
        for _ in range(LINK_LIMIT):
            try:
                target = os.readlink(current)  # noqa: PTH115  # a Path would drop what os.readlink keeps
            except OSError:
                break
            declared = self._output.declared_path.rstrip("/")
            if target == declared or target.startswith(declared + "/"):
                target = self._root + target[len(declared) :]
                if current == link:
                    self._absolute_links[link] = os.path.relpath(target, os.path.dirname(link))  # noqa: PTH120
            parent, name = os.path.split(os.path.join(os.path.dirname(current), target))  # noqa: PTH118, PTH120
            current = os.path.join(os.path.realpath(parent), name)  # noqa: PTH118
        resolved = os.path.realpath(current)
        root = os.path.realpath(self._root)
        if resolved != root and not resolved.startswith(root + "/"):
            raise self._invalid(relative, "is a symbolic link that leads out of the artifact; copy what it leads to")
        if not os.path.exists(resolved):  # noqa: PTH110
            raise self._invalid(relative, "is a symbolic link that leads nowhere; remove it")
        return resolved

    def _add_file(self, source: str, relative: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._invalid(relative, "is neither a file nor a directory; remove it before the step ends")
        if len(self._files) >= FILE_LIMIT:
            raise self._invalid("", f"has more than {FILE_LIMIT:,} files; pack them into an archive")
        self._files.append(
            LocalFile(
                source=source,
                relative=relative,
                shown=self._shown(relative),
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
                executable=bool(found.st_mode & stat.S_IXUSR),
            )
        )

    def _check_name(self, name: str, relative: str) -> None:
        if not _is_utf8(name) or any(ord(character) < 32 or ord(character) == 127 for character in name):
            raise self._invalid(relative, "has a name with control characters or not in UTF-8; rename it")

    def _stat(self, path: str, relative: str, *, follow: bool) -> os.stat_result:
        try:
            return os.stat(path, follow_symlinks=follow)  # noqa: PTH116
        except OSError as error:
            raise of_output(error, self._output.name, self._shown(relative)) from error

    def _shown(self, relative: str) -> str:
        path = f"{self._output.declared_path.rstrip('/')}/{relative}" if relative else self._output.declared_path
        return path.encode("utf-8", "backslashreplace").decode()

    def _invalid(self, relative: str, problem: str) -> StepError:
        return StepError(OUTPUT_INVALID, f"Output artifact {self._output.name}: {self._shown(relative)} {problem}.")


def output_is_elsewhere(path: Path) -> bool:
    """Whether a directory above the path is a symbolic link: the user's container could have put it there."""
    return os.path.realpath(path.parent) != str(path.parent)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return (found.st_dev, found.st_ino)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
