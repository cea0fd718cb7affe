"""The objects that start the backend in a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kfp.backend.__main__ import options_of
from tests.kfp.deployment import CODE, objects

Json = dict[str, Any]


@pytest.fixture
def made() -> list[Json]:
    options = ["--requeue-seconds=0.5", "--restrict-main"]
    return objects("ml", image="operator", s3_endpoint="http://s3:7070", s3_secret="s3", options=options)  # noqa: S106 - a name


def of_kind(made: list[Json], kind: str) -> list[Json]:
    return [one for one in made if one["kind"] == kind]


def test_everything_is_in_the_namespace(made: list[Json]) -> None:
    assert {one["metadata"]["namespace"] for one in made} == {"ml"}


def test_the_command_line_is_understood(made: list[Json]) -> None:
    command = of_kind(made, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["command"]

    options = options_of(command[3:])

    assert (options.s3_secret, options.requeue_seconds, options.restrict_main) == ("s3", 0.5, True)


def test_the_config_map_has_the_whole_package_and_is_small_enough(made: list[Json]) -> None:
    data = of_kind(made, "ConfigMap")[0]["data"]

    assert data.keys() == {path.name for path in CODE.glob("*.py")}
    assert sum(map(len, data.values())) < 2**20


@pytest.mark.parametrize("module", ["backend", "backend.launcher"])
def test_the_package_runs_from_its_directory_alone(made: list[Json], module: str, tmp_path: Path) -> None:
    package = tmp_path / "backend"
    package.mkdir()
    for name, text in of_kind(made, "ConfigMap")[0]["data"].items():
        (package / name).write_text(text)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}

    command = [sys.executable, "-c", f"import importlib; importlib.import_module('{module}')"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_no_code_is_the_operators() -> None:
    assert not [
        path.name
        for path in CODE.glob("*.py")
        if "import cairn" in path.read_text() or "from cairn" in path.read_text()
    ]
