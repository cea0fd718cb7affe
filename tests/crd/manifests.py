"""The manifests of this folder, and what they say of themselves.

A refused one begins with the field and words of the message that must be answered:
    # refused: spec.steps[0]
    # message: script cannot be combined with command or args
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import yaml

from cairn.api.base import API_VERSION, JsonObject
from cairn.kinds import kinds

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CRDS = tuple(sorted(path for path in (REPOSITORY / "crds").glob("*.yaml") if path.stem != "kustomization"))
SPECS = {kind.kind: kind.spec for kind in kinds()}
STATUSES = {kind.kind: kind.status for kind in kinds()}


@dataclass(frozen=True)
class Manifest:
    """A file of this folder: an object, or one before and after a change."""

    path: Path
    documents: tuple[JsonObject, ...]
    refused: str | None
    message: str | None

    @property
    def document(self) -> JsonObject:
        """The object, or the one after the change."""
        return self.documents[-1]


@cache
def manifests(folder: str) -> tuple[Manifest, ...]:
    """Return the manifests of a folder, in the order of their names."""
    return tuple(_read(path) for path in sorted((HERE / folder).glob("*.yaml")))


def samples() -> Iterator[tuple[str, JsonObject]]:
    """Yield the objects of Cairn's kinds that the repository shows to users, each with where it is."""
    for folder in ("samples", "demo"):
        for path in sorted((REPOSITORY / "manifests" / folder).glob("*.yaml")):
            for index, document in enumerate(documents(path)):
                if document.get("apiVersion") == API_VERSION:
                    yield f"{folder}/{path.stem}-{index}", document


@cache
def complete() -> tuple[JsonObject, ...]:
    """Return the objects that have every field between them."""
    return tuple(manifest.document for manifest in manifests("valid") if "complete" in manifest.path.stem)


@cache
def crds() -> tuple[JsonObject, ...]:
    """Return the CRDs."""
    return tuple(document for path in CRDS for document in documents(path))


def documents(path: Path) -> tuple[JsonObject, ...]:
    """Return the YAML documents of a file."""
    return tuple(
        cast(JsonObject, document) for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader) if document
    )


def _read(path: Path) -> Manifest:
    found = dict(re.findall(r"^# (refused|message): (.+)$", path.read_text(), flags=re.MULTILINE))
    return Manifest(path, documents(path), found.get("refused"), found.get("message"))
