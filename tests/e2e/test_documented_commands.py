"""Every command of the README and of the quick start works as it stands, and prints what the page shows."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Cluster
from documented_commands import PAGES, ROOT, Command, commands_of
from manifests import RESTRICTED

SECONDS = 900
OWN_NAMESPACE = "quick-start"
"""What the quick start makes, and removes at its end."""


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    """A page with commands."""
    return request.param


@pytest.fixture(scope="module")
def kubeconfig(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kubeconfig that commands may change, its namespace one of the test's own."""
    copy = tmp_path_factory.mktemp("kubeconfig") / "config"
    shutil.copy(os.environ["KUBECONFIG"], copy)
    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        set_namespace = ["kubectl", "config", "set-context", "--current", "--namespace", namespace.namespace]
        subprocess.run(
            set_namespace, env={**os.environ, "KUBECONFIG": str(copy)}, check=True, stdout=subprocess.DEVNULL
        )
        yield copy
    if cluster.get("Namespace", OWN_NAMESPACE) is not None:
        cluster.delete("Namespace", OWN_NAMESPACE)


@pytest.fixture(scope="module")
def printed(page: str, kubeconfig: Path) -> list[tuple[Command, str]]:
    """What each command of the page prints; all are of one session of a shell."""
    run = [command for command in commands_of(page) if command.elsewhere is None]
    mark = f"--- {secrets.token_hex(8)}"
    script = "\n".join(["set -euo pipefail", *(f"echo {shlex.quote(mark)}\n{command.text}" for command in run)])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    outputs = done.stdout.split(f"{mark}\n")[1:]
    assert done.returncode == 0, f"{run[len(outputs) - 1].text}\n{done.stdout}\n{done.stderr}"
    return list(zip(run, outputs, strict=True))


def test_its_commands_print_what_it_shows(printed: list[tuple[Command, str]]) -> None:
    shown = {command.text: _in_short(command.shown) for command, _ in printed if command.shown is not None}

    assert {command.text: _in_short(output) for command, output in printed if command.shown is not None} == shown


def _in_short(output: str) -> list[str]:
    """Return what is the same each time: not times, the hashes in names, and the widths of columns."""
    same = re.sub(r"\b[0-9a-f]{8,}\b", "HASH", output)
    same = re.sub(r"\b(\d+[smh])+\b|(?<!/)\b\d+\b(?!/)", "N", same)
    return [" ".join(line.split()) for line in same.splitlines()]
