"""What the images' labels tell (https://github.com/opencontainers/image-spec/blob/main/annotations.md)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from charts.generate import ROOT

DOCKERFILES = ["operator/Dockerfile", "charts/mlflow/image/Dockerfile"]
KNOWN = {
    *("title", "description", "vendor", "licenses", "base.name"),
    *("version", "revision", "created", "source"),
}
DESCRIBE = r"""
CHECKOUT=$1; . tests/cluster/build.sh; describe_source "$CHECKOUT/$2"; printf '%s\n' "$VERSION" "$REVISION" "$CREATED" "$SOURCE"
"""


def described(checkout: Path, dockerfile: str) -> list[str]:
    """Return version, revision, time and source as a build is told them."""
    command = ["bash", "-euo", "pipefail", "-c", DESCRIBE, "describe", str(checkout), dockerfile]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    for chart, version in (("cairn", "1.2.3"), ("mlflow", "3.4.5")):
        (tmp_path / "charts" / chart).mkdir(parents=True)
        (tmp_path / "charts" / chart / "Chart.yaml").write_text(f"version: 9.9.9\nappVersion: {version}\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    author = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
    git(tmp_path, *author, "commit", "--quiet", "--message=first", "--date=2026-01-02T03:04:05Z")
    return tmp_path


def git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_has_every_label(dockerfile: str):
    found = re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]+)"', (ROOT / dockerfile).read_text())

    assert {name for name, _ in found} == KNOWN


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_changes_with_a_commit_is_given_to_the_build(dockerfile: str):
    text = (ROOT / dockerfile).read_text()
    given = set(re.findall(r"for setting in (.*); do", (ROOT / "tests/cluster/build.sh").read_text())[0].split())

    assert {name.upper() for name in ("version", "revision", "created", "source")} <= given
    assert set(re.findall(r'org[\w.]+="\$\{(\w+)\}"', text)) <= given & set(
        re.findall(r"^ARG (\w+)", text, re.MULTILINE)
    )


@pytest.mark.parametrize(("dockerfile", "version"), list(zip(DOCKERFILES, ["1.2.3", "3.4.5"], strict=True)))
def test_the_version_is_the_app_s_and_the_rest_the_commit_s(checkout: Path, dockerfile: str, version: str):
    found = described(checkout, dockerfile)

    assert found == [version, git(checkout, "rev-parse", "HEAD"), git(checkout, "log", "-1", "--format=%cI"), "unknown"]


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://git.example/cairn.git", "https://git.example/cairn.git"),
        ("https://someone:password@git.example/cairn.git", "https://git.example/cairn.git"),
        ("/home/someone/cairn", "unknown"),
    ],
)
def test_the_source_is_where_others_can_read_it_and_holds_no_password(checkout: Path, remote: str, source: str):
    git(checkout, "remote", "add", "origin", remote)

    assert described(checkout, DOCKERFILES[0])[-1] == source
