"""Write dist/. `make package` and `make publish` call it (tests/cluster/package.sh), once the images are there.

Usage: python -m charts.release --operator-image REFERENCE --mlflow-image REFERENCE [--registry REGISTRY] [--output dist]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from charts.generate import CHARTS, ROOT, helm
from charts.release.charts import package
from charts.release.images import Base, Image, look_at, look_at_base
from charts.release.manifest import install_manifest
from charts.release.provenance import Source, base_image, file, sha256, statement
from charts.release.sbom import Bom, locked, sbom

OPERATOR_LOCK = ("--no-default-groups", "--extra=operator")
DECIDES = (
    *("uv.lock", "charts/mlflow/image/uv.lock"),
    *("operator/Dockerfile", "charts/mlflow/image/Dockerfile"),
    "tests/cluster/versions.env",
)
"""The files that say what of others gets into the images."""
BUILDER = "https://cairn.dev/build/own-machine/v1"
"""Whoever ran `make`: nobody vouches for it. A service that builds names itself in BUILDER_ID."""


@dataclass(frozen=True)
class Release:
    """What there is to write about."""

    operator: Image
    operator_lock: Bom
    mlflow: Image
    mlflow_lock: Bom
    bases: Sequence[Base]
    source: Source
    epoch: int
    """The commit's time, which everything bears."""
    parameters: Mapping[str, str]
    tools: Mapping[str, str]
    builder: str = BUILDER


def main() -> int:
    """Write dist/ anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operator-image", required=True, help="the operator's image, which Docker has")
    parser.add_argument("--mlflow-image", required=True, help="the image of MLflow servers, which Docker has")
    parser.add_argument(
        "--base-image", action="append", default=[], help="an image that they are built on; again for each"
    )
    parser.add_argument("--registry", default="", help="where both were pushed to; none if empty")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="directory, which is made anew")
    arguments = parser.parse_args()
    pushed = bool(arguments.registry)
    shutil.rmtree(arguments.output, ignore_errors=True)
    write(
        arguments.output,
        Release(
            operator=look_at(arguments.operator_image, pushed=pushed),
            operator_lock=locked(ROOT, *OPERATOR_LOCK),
            mlflow=look_at(arguments.mlflow_image, pushed=pushed),
            mlflow_lock=locked(CHARTS / "mlflow/image"),
            bases=[look_at_base(reference) for reference in arguments.base_image],
            source=Source(
                os.environ.get("SOURCE_URL", ""), _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain"))
            ),
            epoch=int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")),
            parameters={"registry": arguments.registry} if pushed else {},
            tools=_tools(),
            builder=os.environ.get("BUILDER_ID") or BUILDER,
        ),
    )
    for path in sorted(arguments.output.iterdir()):
        sys.stdout.write(f"{path}\n")
    return 0


def write(directory: Path, release: Release) -> None:
    """Write what the release consists of into a directory."""
    directory.mkdir(parents=True)
    operator, mlflow = release.operator, release.mlflow
    values = {
        "cairn": {**_image(operator), "mlflow.image": mlflow.reference if mlflow.digest else ""},
        "mlflow": _image(mlflow),
    }
    for name, settings in values.items():
        package(CHARTS / name, settings, directory, epoch=release.epoch)
    (directory / "install.yaml").write_text(install_manifest(operator.tag, operator.reference, mlflow.reference))
    for image, lock, own in ((operator, release.operator_lock, ["cairn"]), (mlflow, release.mlflow_lock, [])):
        name = f"cairn-{image.repository.rpartition('/')[2]}"
        bom = sbom(image, lock, name=name, own=own, epoch=release.epoch)
        _write_json(directory / f"{name}-{image.tag}.cdx.json", bom)
    provenance = statement(
        files=list(directory.iterdir()),
        pushed={image.repository: image.digest for image in (operator, mlflow) if image.digest},
        source=release.source,
        materials=[*(base_image(base) for base in release.bases), *(file(ROOT / path, ROOT) for path in DECIDES)],
        parameters=release.parameters,
        tools=release.tools,
        builder=release.builder,
    )
    _write_json(directory / "provenance.intoto.json", provenance)
    sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(directory.iterdir())]
    (directory / "SHA256SUMS").write_text("".join(sums))


def _image(image: Image) -> dict[str, str]:
    return {"image.repository": image.repository, "image.tag": image.tag, "image.digest": image.digest}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _tools() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "uv": _said("uv", "--version").split()[1],
        "helm": _said(helm(), "version", "--template={{.Version}}"),
        "docker": _said("docker", "version", "--format={{.Server.Version}}"),
    }


def _git(*arguments: str) -> str:
    return _said("git", "-C", str(ROOT), *arguments)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
