"""Where a release comes from: an in-toto statement with the predicate https://slsa.dev/spec/v1.0/provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charts.release.images import Base

BUILD_TYPE = "https://cairn.dev/build/make-package/v1"


@dataclass(frozen=True)
class Source:
    """What was built."""

    repository: str
    """URL of it; empty where it is not known."""
    revision: str
    changed: bool
    """Whether there were changes that are in no commit."""


def statement(
    *,
    files: Iterable[Path],
    pushed: Mapping[str, str],
    source: Source,
    materials: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, Any],
    tools: Mapping[str, str],
    builder: str,
) -> dict[str, Any]:
    """Return the statement about files, and images that were pushed (digest by name).

    It says neither when nor how often: the same build is told in the same words.
    """
    images = [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}} for name, digest in pushed.items()]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [*({"name": path.name, "digest": {"sha256": sha256(path)}} for path in sorted(files)), *images],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(parameters),
                "internalParameters": {},
                "resolvedDependencies": [_descriptor(source), *materials],
            },
            "runDetails": {"builder": {"id": builder, "version": dict(tools)}},
        },
    }


def base_image(base: Base) -> dict[str, Any]:
    """Return the description of an image of others that the images are built on."""
    return {
        "name": base.reference,
        "digest": {"sha256": base.digest.removeprefix("sha256:")},
        "annotations": {"digestOf": "manifest" if base.pulled else "configuration"},
    }


def file(path: Path, root: Path) -> dict[str, Any]:
    """Return the description of a file that decides what gets into a release."""
    return {"name": str(path.relative_to(root)), "digest": {"sha256": sha256(path)}}


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _descriptor(source: Source) -> dict[str, Any]:
    return {
        "name": "source",
        **({"uri": f"git+{source.repository}@{source.revision}"} if source.repository else {}),
        "digest": {"gitCommit": source.revision},
        **({"annotations": {"uncommittedChanges": True}} if source.changed else {}),
    }
