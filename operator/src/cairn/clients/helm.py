"""Runs Helm, by which Cairn installs what components ask for.

All that is known of a release is what Helm keeps of it, in Secrets of its namespace: their labels tell the state of each revision
(https://helm.sh/docs/topics/advanced/#storage-backends).
"""

from __future__ import annotations

import asyncio
import json
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, cast

import yaml

from cairn.api.base import JsonObject
from cairn.api.time import parse
from cairn.clients.kubernetes import METADATA_LIST_ONLY, SECRETS, Kubernetes

HISTORY_LIMIT = 10
"""How many revisions of a release Helm keeps; each is a Secret."""
LONGEST_ERROR = 2048
"""Characters of Helm's words that are told."""

ReleaseStatus = Literal[
    "unknown",
    "deployed",
    "uninstalled",
    "superseded",
    "failed",
    "uninstalling",
    "pending-install",
    "pending-upgrade",
    "pending-rollback",
]
"""As in helm.sh/helm/v3, pkg/release/status.go."""


_WARNING = re.compile(r"WARNING:|[WI][0-9]{4} ")
"""How lines begin that Helm, and the Kubernetes client in it, write besides."""
_PREFIX = re.compile(r"^Error: ((INSTALLATION|UPGRADE|ROLLBACK) FAILED: )?")
"""How its error begins, which calls a second try of an install an upgrade."""


class HelmError(Exception):
    """Helm could not do it; the message is in its own words."""


@dataclass(frozen=True)
class Revision:
    """One of a release's revisions."""

    number: int
    status: ReleaseStatus
    created: datetime
    labels: Mapping[str, str]
    """Those that it was given, among Helm's own."""


class Helm:
    """The program `helm`; its process ends with whoever awaits it."""

    def __init__(self, program: str = "helm") -> None:
        """Use a program, found on the PATH."""
        self._program = program
        self._running: set[Process] = set()

    @property
    def running(self) -> int:
        """How many of its processes run."""
        return len(self._running)

    def kill(self) -> None:
        """End what runs, at once: a release stays marked as being worked on, and not as failed."""
        for process in self._running:
            process.kill()

    async def description(self, namespace: str, name: str, revision: int) -> str:
        """Return what Helm says of a revision, such as why it failed; raises HelmError."""
        told = await self._run("status", name, *_in(namespace), f"--revision={revision}", "--output=json")
        return str(json.loads(told)["info"].get("description", ""))

    async def manifest(self, namespace: str, name: str) -> Sequence[JsonObject]:
        """Return the objects of a release's newest revision, hooks aside; raises HelmError."""
        documents = yaml.safe_load_all(await self._run("get", "manifest", name, *_in(namespace)))
        return tuple(document for document in documents if document)

    async def upgrade(
        self, namespace: str, name: str, chart: Path, values: JsonObject, *, labels: Mapping[str, str], seconds: int
    ) -> None:
        """Install a release, or make it what chart and values say, and wait until it is ready.

        The labels are kept with the revision. Where it fails, its objects are left as they are.

        Raises:
            HelmError: the chart refuses the values, the API server an object, or it was not ready after so many seconds.
        """
        await self._run(
            "upgrade",
            name,
            str(chart),
            *_in(namespace),
            "--install",
            "--wait",
            "--wait-for-jobs",
            f"--timeout={seconds}s",
            f"--history-max={HISTORY_LIMIT}",
            f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}",
            "--values=-",
            given=json.dumps(values),
        )

    async def rollback(self, namespace: str, name: str, revision: int) -> None:
        """Make a release what one of its earlier revisions was, without waiting for it; raises HelmError."""
        await self._run("rollback", name, str(revision), *_in(namespace), f"--history-max={HISTORY_LIMIT}")

    async def uninstall(self, namespace: str, name: str, *, seconds: int) -> None:
        """Delete the objects of a release and its history, if it is there, and wait until its pods are gone; raises HelmError."""
        how = ("--ignore-not-found", "--cascade=foreground", "--wait", f"--timeout={seconds}s")
        await self._run("uninstall", name, *_in(namespace), *how)

    async def _run(self, *arguments: str, given: str | None = None) -> str:
        """Return what Helm prints; raises HelmError."""
        stdin = PIPE if given is not None else DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                self._program, *arguments, stdin=stdin, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            raise HelmError(f"{self._program} cannot be started: {error}") from error
        self._running.add(process)
        try:
            output, errors = await process.communicate(given.encode() if given is not None else None)
        finally:
            if process.returncode is None:
                process.terminate()  # Helm marks the release as failed, which it has the time for
                await process.wait()
            self._running.discard(process)
        if process.returncode != 0:
            raise HelmError(_in_short(errors.decode(errors="replace")))
        return output.decode()


async def revisions_of(kubernetes: Kubernetes, namespace: str, name: str) -> Sequence[Revision]:
    """Return the revisions of a release that Helm keeps, the newest last; none where there is no such release."""
    secrets, _ = await kubernetes.list(
        SECRETS, namespace, selector=f"owner=helm,name={name}", accept=METADATA_LIST_ONLY
    )
    revisions = (_revision(secret["metadata"]) for secret in secrets if _is_of_helm(secret["metadata"]))
    return tuple(sorted(revisions, key=lambda revision: revision.number))


def _is_of_helm(metadata: JsonObject) -> bool:
    """Return whether a Secret with Helm's labels is one of its own."""
    version = metadata["labels"].get("version", "")
    return metadata["name"] == f"sh.helm.release.v1.{metadata['labels']['name']}.v{version}" and version.isdecimal()


def _revision(metadata: JsonObject) -> Revision:
    labels = metadata["labels"]
    status = cast(ReleaseStatus, labels.get("status", "unknown"))
    return Revision(int(labels["version"]), status, parse(metadata["creationTimestamp"]), labels)


def _in(namespace: str) -> tuple[str, ...]:
    return (f"--namespace={namespace}",)


def _in_short(errors: str) -> str:
    """Return Helm's error without warnings and its own prefix."""
    lines = [line for line in errors.strip().splitlines() if line and not _WARNING.match(line)]
    words = _PREFIX.sub("", " ".join(" ".join(lines).split()))
    return words.rstrip(".")[:LONGEST_ERROR] or "it says nothing"
