from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charts.release.__main__ import Release, write
from charts.release.images import Base, Image
from charts.release.provenance import Source

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER_DIGEST = "sha256:" + "fedcba9876543210" * 4
EPOCH = 1_700_000_000


def package(name: str, version: str) -> dict[str, Any]:
    """A component as `uv export` writes it."""
    return {"type": "library", "bom-ref": f"{name}-1@{version}", "name": name, "version": version}


LOCK: dict[str, Any] = {
    "specVersion": "1.5",
    "metadata": {"tools": [{"name": "uv"}], "component": package("cairn", "0.1.0")},
    "components": [package("kopf", "1.45"), package("pyyaml", "6"), package("colorama", "0.4")],
    "dependencies": [
        {"ref": "cairn-1@0.1.0", "dependsOn": ["kopf-1@1.45", "colorama-1@0.4"]},
        {"ref": "kopf-1@1.45", "dependsOn": ["pyyaml-1@6"]},
        {"ref": "pyyaml-1@6"},
        {"ref": "colorama-1@0.4"},
    ],
}
OPERATOR = Image(
    repository="cairn/operator",
    tag="0.1.0",
    id="sha256:" + "1" * 64,
    digest="",
    python_packages={"cairn": "0.1.0", "kopf": "1.45", "PyYAML": "6"},
    debian_packages=[("zlib1g", "1:1.2.13.dfsg-1", "amd64")],
    helm="v3.19.5",
)
MLFLOW = replace(OPERATOR, repository="cairn/mlflow", tag="3.17.2", python_packages={"kopf": "1.45"}, helm="")
LOCAL = Release(
    operator=OPERATOR,
    operator_lock=LOCK,
    mlflow=MLFLOW,
    mlflow_lock=LOCK,
    bases=[Base("python:3", DIGEST, pulled=True)],
    source=Source("https://git.example/cairn", "c0ffee", changed=False),
    epoch=EPOCH,
    parameters={},
    tools={"helm": "v3.19.5"},
)
PUSHED = replace(
    LOCAL,
    operator=replace(OPERATOR, repository="registry.example:5000/cairn/operator", digest=DIGEST),
    mlflow=replace(MLFLOW, repository="registry.example:5000/cairn/mlflow", digest=OTHER_DIGEST),
    parameters={"registry": "registry.example:5000"},
)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make package` writes."""
    directory = tmp_path_factory.mktemp("local") / "dist"
    write(directory, LOCAL)
    return directory


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make publish` writes."""
    directory = tmp_path_factory.mktemp("published") / "dist"
    write(directory, PUSHED)
    return directory
