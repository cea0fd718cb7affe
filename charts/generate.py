"""Write what is made from the charts: the tables of values in their READMEs, manifests/install/operator.yaml, and snapshots.

A snapshot is the chart of MLflow as Helm renders it, so that a review shows what a change of a template does.

Usage: python charts/generate.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).resolve().parent
ROOT = CHARTS.parent
OPERATOR = ROOT / "manifests/install/operator.yaml"
SNAPSHOTS = ROOT / "tests/unit/charts/snapshots"
STATELESS = (
    "postgresql.uriSecret.name=db",
    "artifacts.destination=s3://bucket/prefix",
    "artifacts.s3.credentialsSecret=s3",
)
RENDERED: Mapping[str, Sequence[str]] = {
    "mlflow-default": (),
    "mlflow-postgresql-and-bucket": (*STATELESS, "replicas=2"),
    "mlflow-everything": (
        *STATELESS,
        *("replicas=3", "auth.enabled=true", "auth.existingSecret=login", "caBundle.secret=ca"),
        *("ingress.enabled=true", "ingress.hosts={mlflow.example.com}"),
        *("httpRoute.enabled=true", "httpRoute.hostnames={ml.example.com}", "httpRoute.parentRefs[0].name=gateway"),
        *("networkPolicy.enabled=true", "serviceMonitor.enabled=true", "garbageCollection.enabled=true"),
    ),
}
"""The values of each snapshot."""
TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- end -->)", re.DOTALL)

HEADER = "# Generated from charts/cairn with its default values (`make generate`); do not edit.\n"
MAKE_HELM = ". tests/cluster/lib.sh; . tests/cluster/tools.sh; exclusively; use_tool helm; command -v helm"
HELMS_OWN = re.compile(r" *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n")


def main() -> int:
    """Write the files, or with --check only say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated_files().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        sys.stdout.write(f"{'out of date' if check else 'wrote'}: {path}\n")
        if not check:
            path.write_text(text)
    return 1 if check and stale else 0


def generated_files() -> dict[Path, str]:
    """Return the text of the generated files."""
    readmes = [chart.with_name("README.md") for chart in sorted(CHARTS.glob("*/Chart.yaml"))]
    snapshots = {SNAPSHOTS / f"{name}.yaml": snapshot(settings) for name, settings in RENDERED.items()}
    return {**{readme: with_values(readme) for readme in readmes}, OPERATOR: HEADER + operator(), **snapshots}


def snapshot(settings: Sequence[str]) -> str:
    """Return the chart of MLflow with these values."""
    given = [f"--set={setting}" for setting in settings]
    return _output(
        [helm(), "template", "mlflow", str(CHARTS / "mlflow"), "--namespace=ml", "--kube-version=1.34", *given]
    )


def with_values(readme: Path) -> str:
    """Return the text of a chart's README with the table of the chart's values."""
    values = readme.with_name("values.yaml").read_text()
    table = "".join(f"| {' | '.join(row)} |\n" for row in (("Value", "Default", "Meaning"), ("-",) * 3, *rows(values)))
    return TABLE.sub(lambda _: table, readme.read_text())


def operator(*options: str) -> str:
    """Return the chart's objects without the CRDs, the hooks, and the labels that say that Helm manages them."""
    settings = ["--namespace=cairn-system", "--kube-version=1.29", "--no-hooks", "--set=crds.install=false", *options]
    rendered = _output([helm(), "template", "cairn", str(CHARTS / "cairn"), *settings])
    documents = (HELMS_OWN.sub("", text) for text in re.split(r"^---\n", rendered, flags=re.MULTILINE))
    return "".join(f"---\n{text}" for text in documents if yaml.safe_load(text))


def helm() -> str:
    """Return the path of helm: the machine's own, or the one that the cluster's scripts make and keep."""
    return shutil.which("helm") or _output(["bash", "-c", MAKE_HELM]).strip()


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def rows(values: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and description of every value that has a comment."""
    path: list[str] = []
    comment: list[str] = []
    for line in values.splitlines():
        if match := re.match(r"( *)# ?(.*)", line):
            comment.append(match[2])
        elif match := re.match(r"( *)(\w+):", line):
            path[len(match[1]) // 2 :] = [match[2]]
            if comment:
                yield ".".join(path), f"`{_default(values, path)}`", " ".join(comment)
            comment = []
        elif not line:
            comment = []


def _default(values: str, path: list[str]) -> str:
    value: Any = yaml.safe_load(values)
    for key in path:
        value = value[key]
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
