"""What is in an image, as CycloneDX: Python packages with the digests of uv.lock, Debian's packages, Helm."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from charts.release.images import Image

Bom = dict[str, Any]


class NotLockedError(Exception):
    """An image has a Python package that its lock file does not know."""


def locked(project: Path, *options: str) -> Bom:
    """Return what the lock file of a project says, for every platform."""
    command = ["uv", "export", "--locked", "--quiet", "--format=cyclonedx1.5", *options]
    return json.loads(subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE).stdout)


def sbom(image: Image, lock: Bom, *, name: str, own: Sequence[str], epoch: int) -> Bom:
    """Return the list for an image. The lock file is right about digests, the image about what was installed of it.

    Args:
        image: What is in the image.
        lock: What its lock file says.
        name: Title of the image.
        own: Python packages that are built from this repository, so that no lock file has a digest of them.
        epoch: The commit's time.
    """
    python = _python(image.python_packages, lock, own)
    known = {component["bom-ref"] for component in python}
    root = {
        "type": "container",
        "bom-ref": name,
        "name": name,
        "version": image.tag,
        "hashes": [{"alg": "SHA-256", "content": (image.digest or image.id).removeprefix("sha256:")}],
    }
    rest = [*_debian(image.debian_packages), *_helm(image.helm)]
    dependencies = [
        {**edge, "dependsOn": [one for one in edge.get("dependsOn", ()) if one in known]}
        for edge in lock["dependencies"]
        if edge["ref"] in known
    ]
    body: Bom = {
        "bomFormat": "CycloneDX",
        "specVersion": lock["specVersion"],
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
            "tools": lock["metadata"]["tools"],
            "component": root,
        },
        "components": [*python, *rest],
        "dependencies": [{"ref": name, "dependsOn": sorted(known | {one["bom-ref"] for one in rest})}, *dependencies],
    }
    # Two lists are of one number where they say the same.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {**body, "serialNumber": f"urn:uuid:{number}"}


def _python(installed: Mapping[str, str], lock: Bom, own: Sequence[str]) -> list[Bom]:
    components = [lock["metadata"]["component"], *lock["components"]]
    known = {(_normal(one["name"]), one["version"]): one for one in components}
    found = {(_normal(name), version) for name, version in installed.items()}
    if unknown := [f"{name} {version}" for name, version in found if (name, version) not in known and name not in own]:
        raise NotLockedError(f"not in the lock file: {', '.join(sorted(unknown))}")
    return [component for key, component in known.items() if key in found]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _debian(packages: Sequence[tuple[str, str, str]]) -> Iterator[Bom]:
    for name, version, architecture in sorted(packages):
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='.~')}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _helm(version: str) -> Iterator[Bom]:
    if version:
        purl = f"pkg:golang/helm.sh/helm/v3@{version}"
        yield {"type": "application", "bom-ref": purl, "name": "helm", "version": version, "purl": purl}
