"""The images of a release, and what is in them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INSTALLED = """
import importlib.metadata, json
print(json.dumps({found.name: found.version for found in importlib.metadata.distributions()}))
"""
DEBIAN_PACKAGES = ("dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\n")


@dataclass(frozen=True)
class Image:
    """An image that was built, and perhaps pushed."""

    repository: str
    """As the charts name it: `cairn/operator`, after the registry if there is one."""
    tag: str
    id: str
    """Digest of its configuration, which it has without a registry."""
    digest: str
    """Digest of its manifest, by which nodes pull it; empty where it was not pushed."""
    python_packages: Mapping[str, str]
    """Version by name."""
    debian_packages: Sequence[tuple[str, str, str]]
    """Name, version, architecture."""
    helm: str
    """Version of the Helm in it; empty where there is none."""

    @property
    def reference(self) -> str:
        """What to pull: by digest where it is known, as a tag may come to mean another image."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Base:
    """An image of others that is built on."""

    reference: str
    digest: str
    pulled: bool
    """Whether that is the digest of its manifest; otherwise it was made on this machine, and has only a configuration."""


def look_at_base(reference: str) -> Base:
    """Return what Docker tells of an image of others."""
    found = _inspect(reference)
    digests = [one.partition("@")[2] for one in found["RepoDigests"]]
    return Base(reference, digests[0] if digests else found["Id"], bool(digests))


def look_at(reference: str, *, pushed: bool) -> Image:
    """Return what Docker tells of an image, and what the image tells of itself."""
    found = _inspect(reference)
    repository, tag = reference.rsplit(":", 1)
    digests = dict(one.split("@") for one in found["RepoDigests"])
    debian = _inside(reference, *DEBIAN_PACKAGES).splitlines()
    has_helm = _inside(reference, "sh", "-c", "command -v helm || true").strip()
    return Image(
        repository=repository,
        tag=tag,
        id=found["Id"],
        digest=digests[repository] if pushed else "",
        python_packages=json.loads(_inside(reference, "/opt/venv/bin/python", "-c", INSTALLED)),
        debian_packages=[(name, version, architecture) for name, version, architecture in map(str.split, debian)],
        helm=_inside(reference, "helm", "version", "--template={{.Version}}").strip() if has_helm else "",
    )


def _inspect(reference: str) -> Mapping[str, Any]:
    (found,) = json.loads(_docker("image", "inspect", reference))
    return found


def _inside(reference: str, *command: str) -> str:
    return _docker("run", "--rm", "--network=none", f"--entrypoint={command[0]}", reference, *command[1:])


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
