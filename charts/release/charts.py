"""The charts as archives, in which the images are named where they were pushed to."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from charts.generate import helm, with_values


def package(chart: Path, settings: Mapping[str, str], directory: Path, *, epoch: int) -> Path:
    """Write the archive of a chart with other defaults for some of its values, such as `image.digest`, and return its path.

    Helm writes the present time into an archive. Here every file has that of the commit.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(chart, Path(temporary) / chart.name))
        values, readme = copy / "values.yaml", copy / "README.md"
        values.write_text(with_defaults(values.read_text(), settings))
        readme.write_text(with_values(readme))
        packaged = Path(temporary) / "packaged"
        command = [helm(), "package", str(copy), f"--destination={packaged}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = packaged.iterdir()
        target = directory / archive.name
        target.write_bytes(_at(epoch, archive.read_bytes()))
    return target


def with_defaults(values: str, settings: Mapping[str, str]) -> str:
    """Return the text of values.yaml, comments and all, with other texts for some of the values; fails where one is not there."""
    path: list[str] = []
    lines: list[str] = []
    left = dict(settings)
    for line in values.splitlines(keepends=True):
        match = re.match(r"( *)(\w+):", line)
        if match:
            path[len(match[1]) // 2 :] = [match[2]]
        name = ".".join(path)
        lines.append(f'{match[0]} "{left.pop(name)}"\n' if match and name in left else line)
    if left:
        raise KeyError(f"no such values: {', '.join(left)}")
    return "".join(lines)


def _at(epoch: int, archive: bytes) -> bytes:
    written = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as before,
        gzip.GzipFile(filename="", fileobj=written, mode="wb", mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in before.getmembers():
            member.mtime = epoch
            after.addfile(member, before.extractfile(member))
    return written.getvalue()
