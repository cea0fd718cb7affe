"""The digest of a directory: a function of its content alone."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cairn.step.manifest import FileEntry, Manifest

from .conftest import Pod, local_stores

NAMES = st.sampled_from(["a", "b", "c", "ä", "z z", "a-b"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.tuples(st.binary(max_size=20), st.booleans()), max_size=6)
Tree = dict[str, tuple[bytes, bool]]


def holds_together(tree: Tree) -> bool:
    """No file is also a directory."""
    return not any(other.startswith(path + "/") for path in tree for other in tree)


def write(root: Path, tree: Tree, order: list[str]) -> None:
    for path in order:
        content, executable = tree[path]
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755 if executable else 0o644)


async def published_digest(tree: Tree, order: list[str]) -> str:
    with tempfile.TemporaryDirectory() as directory:
        pod = Pod(Path(directory) / "pod", local_stores(Path(directory) / "store"))
        (pod.out / "model").mkdir()
        write(pod.out / "model", tree, order)
        return (await pod.publish("model"))["artifacts"]["model"]["digest"]


@settings(deadline=None, max_examples=25)
@given(tree=TREES, random=st.randoms())
async def test_the_same_tree_has_the_same_digest_in_whatever_order_it_was_written(tree: Tree, random: Random):
    assume(holds_together(tree))
    shuffled = list(tree)
    random.shuffle(shuffled)

    first = await published_digest(tree, sorted(tree))
    second = await published_digest(tree, shuffled)

    assert first == second


@settings(deadline=None, max_examples=40)
@given(one=TREES, other=TREES)
async def test_different_trees_have_different_digests(one: Tree, other: Tree):
    assume(holds_together(one) and holds_together(other))

    first = await published_digest(one, list(one))
    second = await published_digest(other, list(other))

    assert (first == second) == (one == other)


@given(tree=TREES, path=PATHS)
def test_an_empty_directory_is_part_of_the_digest(tree: Tree, path: str):
    entries = [FileEntry(name, len(data), hashlib.sha256(data).hexdigest(), bit) for name, (data, bit) in tree.items()]

    assert Manifest.of(entries, [path]).digest != Manifest.of(entries, []).digest


@given(TREES)
def test_a_manifest_survives_being_written_and_read(tree: Tree):
    entries = [FileEntry(name, len(data), hashlib.sha256(data).hexdigest(), bit) for name, (data, bit) in tree.items()]
    manifest = Manifest.of(entries, ["empty"])

    assert Manifest.parse(manifest.encode()) == manifest


def test_the_canonical_form_is_as_documented():
    manifest = Manifest.of([FileEntry("w/ä", 1, "ab"), FileEntry("bin/run", 2, "cd", executable=True)], ["logs"])

    assert manifest.encode().decode() == (
        '{"directories":["logs"],"files":[{"executable":true,"path":"bin/run","sha256":"cd","size":2},'
        '{"path":"w/ä","sha256":"ab","size":1}],"version":1}'
    )


async def test_the_digest_of_a_directory_is_the_sha256_of_its_manifest_object(pod: Pod):
    pod.file("model/a")

    report = await pod.publish("model")

    chunks = [bytes(chunk) async for chunk in pod.store.get("team/wine/run-1/train/model.manifest.json")]
    assert json.loads(b"".join(chunks))["files"][0]["path"] == "a"
    assert report["artifacts"]["model"]["digest"] == "sha256:" + hashlib.sha256(b"".join(chunks)).hexdigest()
