"""The health checks and actions of manifests/argocd/settings, run by Argo CD's own engine."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.argocd.images import ARGOCD, CHECKOUT

SETTINGS = CHECKOUT / "manifests/argocd/settings/argocd-cm.yaml"

Body = dict[str, Any]


class Engine:
    """`argocd admin settings resource-overrides`, which needs no cluster."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "object.yaml"

    def health(self, body: Body) -> tuple[str, str]:
        """Return how an object is, and the message."""
        lines = self._run("health", body).splitlines()
        said = dict(line.split(": ", 1) for line in lines if ": " in line)
        return said["STATUS"], said.get("MESSAGE", "")

    def actions(self, body: Body) -> dict[str, bool]:
        """Return the actions that there are, and whether each can be done now."""
        rows = [line.split() for line in self._run("list-actions", body).splitlines()[1:]]
        return {name: disabled == "false" for name, disabled in rows}

    def created(self, body: Body, action: str) -> Body:
        """Return the object that an action creates."""
        said = self._run("run-action", body, action)
        assert "Following resource was created:" in said, said
        return yaml.safe_load(said.split("Following resource was created:", 1)[1])

    def changes(self, body: Body, action: str) -> list[str]:
        """Return the lines that an action adds to an object, or takes from it."""
        said = self._run("run-action", body, action)
        return [line.replace(" ", "") for line in said.splitlines() if line.startswith(("<", ">"))]

    def _run(self, command: str, body: Body, *arguments: str) -> str:
        self._file.write_text(yaml.safe_dump(body))
        done = subprocess.run(
            [
                str(ARGOCD),
                "admin",
                "settings",
                "resource-overrides",
                command,
                str(self._file),
                *arguments,
                "--argocd-cm-path",
                str(SETTINGS),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
