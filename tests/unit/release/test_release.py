"""What is in dist/: it can be installed, it names the images, and it is the same each time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from cairn.api.base import JsonObject
from charts.generate import ROOT, helm
from charts.release.__main__ import write
from charts.release.charts import with_defaults

from .conftest import DIGEST, EPOCH, OTHER_DIGEST, PUSHED


def rendered(archive: Path) -> list[JsonObject]:
    command = [helm(), "template", "cairn", str(archive), "--namespace=cairn-system", "--kube-version=1.34"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [item for item in yaml.safe_load_all(text) if item]


def deployment(items: list[JsonObject]) -> JsonObject:
    (found,) = (item for item in items if item["kind"] == "Deployment")
    return found["spec"]["template"]["spec"]["containers"][0]


def environment(container: JsonObject) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container["env"]}


def member(archive: Path, name: str) -> str:
    with tarfile.open(archive) as opened:
        found = opened.extractfile(name)
        assert found
        return found.read().decode()


def test_a_release_is_charts_one_file_lists_and_where_it_comes_from(local: Path):
    assert {path.name for path in local.iterdir()} == {
        *("cairn-0.1.0.tgz", "mlflow-0.1.0.tgz", "install.yaml"),
        *("cairn-operator-0.1.0.cdx.json", "cairn-mlflow-3.17.2.cdx.json"),
        *("provenance.intoto.json", "SHA256SUMS"),
    }


def test_the_same_commit_and_images_make_the_same_bytes(published: Path, tmp_path: Path):
    write(tmp_path / "again", PUSHED)

    again = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert again == {path.name: path.read_bytes() for path in published.iterdir()}


def test_every_file_of_a_chart_bears_the_commit_s_time(local: Path):
    with tarfile.open(local / "cairn-0.1.0.tgz") as archive:
        assert {one.mtime for one in archive.getmembers()} == {EPOCH}


def test_the_checksums_are_those_of_all_the_others(local: Path):
    sums = {name: digest for digest, name in map(str.split, (local / "SHA256SUMS").read_text().splitlines())}

    others = (path for path in local.iterdir() if path.name != "SHA256SUMS")
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in others}


def test_a_published_chart_installs_the_pushed_images_by_digest(published: Path):
    container = deployment(rendered(published / "cairn-0.1.0.tgz"))

    assert container["image"] == f"registry.example:5000/cairn/operator@{DIGEST}"
    assert environment(container)["CAIRN_STEP_IMAGE"] == container["image"]
    assert environment(container)["CAIRN_MLFLOW_IMAGE"] == f"registry.example:5000/cairn/mlflow@{OTHER_DIGEST}"


def test_a_published_chart_of_mlflow_does_so_too(published: Path):
    container = deployment(rendered(published / "mlflow-0.1.0.tgz"))

    assert container["image"] == f"registry.example:5000/cairn/mlflow@{OTHER_DIGEST}"


def test_without_a_registry_a_chart_makes_what_its_directory_makes(local: Path):
    assert rendered(local / "cairn-0.1.0.tgz") == rendered(ROOT / "charts/cairn")


def test_the_values_of_a_published_chart_are_described_as_they_are(published: Path):
    readme = member(published / "cairn-0.1.0.tgz", "cairn/README.md")

    assert '| image.repository | `"registry.example:5000/cairn/operator"` |' in readme
    assert "# Repository of the operator's image." in member(published / "cairn-0.1.0.tgz", "cairn/values.yaml")


def test_a_default_that_is_not_there_is_refused():
    with pytest.raises(KeyError, match=r"image\.repo"):
        with_defaults("image:\n  repository: a\n", {"image.repo": "b"})


def test_of_values_with_the_same_name_the_right_one_is_changed():
    values = "image:\n  tag: a\nstep:\n  # which\n  tag: a\n"

    assert with_defaults(values, {"step.tag": "b"}) == 'image:\n  tag: a\nstep:\n  # which\n  tag: "b"\n'


@pytest.mark.parametrize(("dist", "digest"), [("local", ""), ("published", DIGEST)])
def test_one_file_installs_the_namespace_then_the_crds_then_the_operator(
    request: pytest.FixtureRequest, dist: str, digest: str
):
    items = list(yaml.safe_load_all((request.getfixturevalue(dist) / "install.yaml").read_text()))

    kinds = [item["kind"] for item in items]
    assert kinds[:6] == ["Namespace", *["CustomResourceDefinition"] * 5]
    assert kinds[-1] == "Deployment"
    image = f"registry.example:5000/cairn/operator@{digest}" if digest else "cairn/operator:0.1.0"
    assert deployment(items)["image"] == environment(deployment(items))["CAIRN_STEP_IMAGE"] == image


def test_the_provenance_tells_of_all_that_was_made_before_it(published: Path):
    statement = json.loads((published / "provenance.intoto.json").read_text())

    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    files = [path for path in published.iterdir() if path.name not in {"provenance.intoto.json", "SHA256SUMS"}]
    assert subjects == {
        **{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "registry.example:5000/cairn/operator": DIGEST.removeprefix("sha256:"),
        "registry.example:5000/cairn/mlflow": OTHER_DIGEST.removeprefix("sha256:"),
    }


def test_the_provenance_names_the_source_the_lock_files_and_the_base_images(published: Path):
    build = json.loads((published / "provenance.intoto.json").read_text())["predicate"]["buildDefinition"]

    source, base, *files = build["resolvedDependencies"]
    assert source == {
        "name": "source",
        "uri": "git+https://git.example/cairn@c0ffee",
        "digest": {"gitCommit": "c0ffee"},
    }
    assert (base["name"], base["digest"]) == ("python:3", {"sha256": DIGEST.removeprefix("sha256:")})
    assert {one["name"] for one in files} >= {"uv.lock", "charts/mlflow/image/uv.lock"}
    assert build["externalParameters"] == {"registry": "registry.example:5000"}
