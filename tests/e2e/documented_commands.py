"""The commands of a page of the documentation, as a reader would type them, and the output that the page shows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/quick-start.md")
COMMANDS, SESSION = "sh", "console"
"""How a block of commands is tagged, and one of commands with what they print."""
NO_COMMANDS = frozenset({"yaml"})


@dataclass(frozen=True)
class Elsewhere:
    """What runs a command, if not the test of the page."""

    file: str
    """Where it is run."""
    as_: str
    """What stands there."""
    why: str


ELSEWHERE: Mapping[str, Elsewhere] = {
    "make demo": Elsewhere("tests/e2e/test_demo.py", '"run.sh"', "it is the test's own subject, after `make install`"),
    "make test": Elsewhere(".ci/run", "make test", "it is what runs this test"),
    "make install": Elsewhere("Makefile", "test-e2e: install", "the tests need the operator that it installs"),
    "tests/cluster/with.sh bash": Elsewhere(
        "Makefile", "$(IN_CLUSTER) $(PYTEST) tests/e2e", "the tests themselves run in it"
    ),
    "docker build -f operator/Dockerfile -t REGISTRY/cairn/operator:0.1.0 .": Elsewhere(
        "tests/cluster/images.sh", "operator/Dockerfile .", "it makes the operator's image that the tests use"
    ),
    "docker build -t REGISTRY/cairn/mlflow:3.17.2 charts/mlflow/image": Elsewhere(
        "tests/cluster/images.sh", "charts/mlflow/image/Dockerfile charts/mlflow/image", "so it does MLflow's"
    ),
    "helm install cairn charts/cairn --namespace cairn-system --create-namespace --wait --set image.repository="
    "REGISTRY/cairn/operator --set image.tag=0.1.0 --set mlflow.image=REGISTRY/cairn/mlflow:3.17.2": Elsewhere(
        "tests/cluster/install.sh",
        'cairn "$CHECKOUT/charts/cairn" --namespace cairn-system --wait',
        "a cluster has one operator",
    ),
}
"""Commands that are run, but not by the test of their page."""


@dataclass(frozen=True)
class Command:
    """One command; a page may show what it prints."""

    text: str
    shown: str | None = None

    @property
    def elsewhere(self) -> str | None:
        """The entry of `ELSEWHERE` that says who runs it, if there is one."""
        words = re.sub(r"\s+#.*|\\\n", "", self.text).split()
        return " ".join(words) if " ".join(words) in ELSEWHERE else None


def commands(markdown: str) -> list[Command]:
    """Return the commands of all blocks; raises ValueError where a block does not say whether it has any."""
    return [command for tag, text in _blocks(markdown) for command in _commands_of(tag, text)]


def commands_of(page: str) -> list[Command]:
    """Return the commands of a page."""
    return commands((ROOT / page).read_text())


def manifests(page: str) -> list[str]:
    """Return the YAML blocks of a page."""
    return [text for tag, text in _blocks((ROOT / page).read_text()) if tag == "yaml"]


def _blocks(markdown: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"^( *)```(\S*)\n(.*?)^\1```$", markdown, re.DOTALL | re.MULTILINE):
        yield found[2], found[3]


def _commands_of(tag: str, text: str) -> Iterator[Command]:
    if tag == COMMANDS:
        yield from map(Command, _split(text))
    elif tag == SESSION:
        for found in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            yield Command(found[1], found[2])
    elif tag not in NO_COMMANDS:
        raise ValueError(f"tag the block as {COMMANDS}, {SESSION} or {', '.join(NO_COMMANDS)}: {text}")


def _split(text: str) -> Iterator[str]:
    """Yield the commands of a script, each with all of its lines."""
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        command = "\n".join(lines)
        if not line.endswith("\\") and _is_complete(command):
            lines = []
            if command.strip() and not command.lstrip().startswith("#"):
                yield command
    if lines:
        raise ValueError(f"bash does not see the end of: {lines}")


def _is_complete(command: str) -> bool:
    """Return whether bash does not wait for more lines; of a here-document without its end it warns only."""
    checked = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
    return checked.returncode == 0 and not checked.stderr
