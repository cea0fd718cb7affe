"""Values of charts, and a digest of all that a release is to be. Pure, but that charts are files."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from cairn.api.base import JsonObject
from cairn.components.releases.naming import labels_of, release_name

STATE_LENGTH = 16


def values_of(component: str, values: JsonObject, image: str | None) -> JsonObject:
    """Return the values of a release, with those that are not up to its component; an image of its own takes precedence."""
    given = values.get("image", {})
    if image and isinstance(given, dict) and "repository" not in given:
        values = merged({"image": _image(image)}, values)
    return merged(values, {"commonLabels": labels_of(component), "fullnameOverride": release_name(component)})


def state_of(values: JsonObject, chart: Path) -> str:
    """Return a digest of what a release is to be."""
    text = f"{_digest_of_chart(chart)}{json.dumps(values, sort_keys=True)}"
    return hashlib.sha256(text.encode()).hexdigest()[:STATE_LENGTH]


def merged(values: JsonObject, others: JsonObject) -> JsonObject:
    """Return values with others merged into them as Helm does it: maps key by key, all else replaced."""
    result = dict(values)
    for name, other in others.items():
        mine = result.get(name)
        result[name] = merged(mine, other) if isinstance(mine, dict) and isinstance(other, dict) else other
    return result


@cache
def _digest_of_chart(chart: Path) -> str:
    """Return a digest of a chart's files, which do not change as long as the operator runs."""
    digest = hashlib.sha256()
    for path in sorted(path for path in chart.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(chart)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _image(reference: str) -> JsonObject:
    """Return an image as the charts' values have it."""
    repository, _, digest = reference.partition("@")
    if digest:
        return {"repository": repository, "digest": digest}
    name, _, tag = reference.rpartition(":")
    has_tag = name and "/" not in tag
    return {"repository": name, "tag": tag} if has_tag else {"repository": reference}
