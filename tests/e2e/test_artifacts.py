"""Artifacts in an S3 bucket: what another client finds there, and what a step finds of what another one wrote."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from cluster import Body, Cluster, artifacts, condition, results, states, step
from manifests import HOLD, ORCHESTRATORS, component, python, run, s3, secret, stack
from s3 import S3Server

FILES = {
    "a.txt": b"a\n",
    "empty": b"",
    "sub/b.bin": bytes(range(256)),
    "gr\u00fcn/\u0434\u0430\u043d\u043d\u044b\u0435 \u2713.txt": "grün\n".encode(),
    "with space/a+b%20c#1&d=?.csv": b"1,2\n",
    "bin/tool": b"#!/bin/sh\n",
    # links, as what they lead to
    "link-to-file": b"a\n",
    "link-to-directory/b.bin": bytes(range(256)),
    "absolute-link": b"a\n",
}
TREE = f"""
import os, pathlib
tree = pathlib.Path('/out/tree')
for name, content in { ({k: v for k, v in FILES.items() if "link" not in k})!r}.items():
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(content)
os.chmod(tree / 'bin/tool', 0o755)
(tree / 'empty-directory/in-it').mkdir(parents=True)
os.symlink('a.txt', tree / 'link-to-file')
os.symlink('sub', tree / 'link-to-directory')
os.symlink('/out/tree/a.txt', tree / 'absolute-link')
pathlib.Path('/out/file').write_bytes(b'one\\n')
pathlib.Path('/out/empty-file').touch()
pathlib.Path('/out/empty-directory').mkdir()
"""
OUTPUTS = ["file", "empty-file", "tree", "empty-directory"]
READ = """
import hashlib, json, os, pathlib
seen, tree = {}, pathlib.Path('/in/tree')
for top, directories, files in os.walk(tree, followlinks=True):
    for name in files:
        path = pathlib.Path(top, name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.exists() else 'broken link'
        seen[str(path.relative_to(tree))] = digest + ('*' if os.access(path, os.X_OK) else '')
    if not directories and not files:
        seen[str(pathlib.Path(top).relative_to(tree))] = 'empty'
refusals = []
for path in pathlib.Path('/in').iterdir():
    for change in (lambda: path.unlink(), lambda: path.write_text('x'), lambda: (path / 'new').write_text('x')):
        try:
            change()
        except OSError as error:
            refusals.append(error.strerror)
            continue
        refusals.append('done')
seen = {
    'tree': json.dumps(seen, sort_keys=True),
    'file': pathlib.Path('/in/file').read_text(),
    'empty': [os.path.getsize('/in/empty-file'), os.listdir('/in/empty-directory')] == [0, []],
    'changes': refusals.count('done'),
}
json.dump(seen, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
READ_URIS = """
import json, os, pathlib
below = sorted(str(path.relative_to('/in/all')) for path in pathlib.Path('/in/all').rglob('*') if path.is_file())
json.dump({'one': pathlib.Path('/in/one').read_text(), 'all': ' '.join(below)}, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
ANOTHER_POD = {"labels": {"example.com/pod": "another"}}
"""What keeps a step out of its producer's pod, so that it gets its inputs from the bucket."""


def outputs(*names: str, **fields: Any) -> Body:
    """Outputs below /out."""
    return {"outputs": {"artifacts": [{"name": name, "path": f"/out/{name}"} for name in names], **fields}}


def inputs(producer: str, *names: str) -> Body:
    """Those as inputs, below /in."""
    found = [{"name": name, "from": f"{producer}.{name}", "path": f"/in/{name}"} for name in names]
    return {"inputs": {"artifacts": found}}


def sha256(content: bytes) -> str:
    """The digest of a file."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def completed(cluster: Cluster, name: str) -> Body:
    """Wait for the end of a run that must have worked."""
    finished = cluster.finished(name, timeout=420)
    assert condition(finished, "Succeeded")["reason"] == "Completed", finished["status"]
    return finished


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster, s3_service: S3Server, shared_bucket: str) -> Cluster:
    """All runs of this module, started together."""
    client = s3_service.client()
    for key in ("given/one.csv", "given/all/a.csv", "given/all/sub/b.csv", "given/all-but-not-this.csv"):
        client.put_object(Bucket=shared_bucket, Key=key, Body=key.encode())
    given = [
        {"name": "one", "uri": f"s3://{shared_bucket}/given/one.csv", "path": "/in/one"},
        {"name": "all", "uri": f"s3://{shared_bucket}/given/all/", "path": "/in/all"},
    ]
    gone = [{"name": "one", "uri": f"s3://{shared_bucket}/given/two.csv", "path": "/in/one"}]
    seen = {"outputs": {"results": ["tree", "file", "empty", "changes"]}}
    for on in ORCHESTRATORS:
        shared_stacks.create(
            run(
                f"kept-{on}",
                [
                    python("make", TREE, **outputs(*OUTPUTS)),
                    python("here", READ, **inputs("make", *OUTPUTS), **seen),
                    python("elsewhere", READ, **inputs("make", *OUTPUTS), **seen, podTemplate=ANOTHER_POD),
                    python("uris", READ_URIS, inputs={"artifacts": given}, outputs={"results": ["one", "all"]}),
                    python("gone", "print('never')", inputs={"artifacts": gone}),
                ],
                on=on,
            )
        )
        shared_stacks.create(run(f"tampered-{on}", tampered(), on=on))
    return shared_stacks


@pytest.fixture(scope="module")
def kept(runs: Cluster, orchestrator: str) -> Body:
    """A run that makes artifacts and reads them, in the pod that made them and in another one."""
    finished = runs.finished(f"kept-{orchestrator}", timeout=420)
    expected = {"make": "Succeeded", "here": "Succeeded", "elsewhere": "Succeeded", "uris": "Succeeded"}
    assert states(finished) == {**expected, "gone": "Failed"}, finished["status"]
    return finished


class TestInTheBucket:
    def test_a_file_lies_at_the_documented_uri_with_its_digest(
        self, kept: Body, s3_service: S3Server, shared_bucket: str
    ) -> None:
        metadata = kept["metadata"]
        base = f"s3://{shared_bucket}/{metadata['namespace']}/test/{metadata['name']}/make"

        file, empty = artifacts(kept, "make")["file"], artifacts(kept, "make")["empty-file"]
        assert file == {"name": "file", "uri": f"{base}/file", "digest": sha256(b"one\n"), "sizeBytes": 4}
        assert empty == {"name": "empty-file", "uri": f"{base}/empty-file", "digest": sha256(b""), "sizeBytes": 0}
        assert s3_service.read(file["uri"]) == b"one\n"
        assert s3_service.read(empty["uri"]) == b""

    def test_a_directory_lies_there_file_by_file_with_the_digest_of_its_manifest(
        self, kept: Body, s3_service: S3Server
    ) -> None:
        tree = artifacts(kept, "make")["tree"]

        found = {key: s3_service.read(f"{tree['uri']}/{key}") for key in _below(s3_service, tree["uri"])}
        assert found == FILES
        assert tree["sizeBytes"] == sum(map(len, FILES.values()))
        manifest = s3_service.read(f"{tree['uri']}.manifest.json")
        assert tree["digest"] == sha256(manifest)
        assert json.loads(manifest) == {
            "version": 1,
            "directories": ["empty-directory/in-it"],
            "files": [
                {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                | ({"executable": True} if path == "bin/tool" else {})
                for path, content in sorted(FILES.items())
            ],
        }

    def test_an_empty_directory_is_a_manifest_without_files(self, kept: Body, s3_service: S3Server) -> None:
        empty = artifacts(kept, "make")["empty-directory"]

        assert _below(s3_service, empty["uri"]) == []
        manifest = s3_service.read(f"{empty['uri']}.manifest.json")
        assert json.loads(manifest) == {"version": 1, "directories": [], "files": []}
        assert (empty["digest"], empty["sizeBytes"]) == (sha256(manifest), 0)

    def test_both_orchestrators_keep_the_same(self, runs: Cluster) -> None:
        one, other = (artifacts(runs.finished(f"kept-{on}"), "make") for on in ORCHESTRATORS)

        assert {name: item["digest"] for name, item in one.items()} == {
            name: item["digest"] for name, item in other.items()
        }


def _below(s3_service: S3Server, uri: str) -> list[str]:
    prefix = f"{uri.split('/', 3)[3]}/"
    return [key.removeprefix(prefix) for key in s3_service.keys(f"{uri}/")]


class TestInAStep:
    @pytest.mark.parametrize("reader", ["here", "elsewhere"])
    def test_a_directory_is_what_its_producer_wrote(self, kept: Body, reader: str) -> None:
        expected = {path: hashlib.sha256(content).hexdigest()[:8] for path, content in FILES.items()}
        expected |= {"bin/tool": expected["bin/tool"] + "*", "empty-directory/in-it": "empty"}

        assert json.loads(results(kept, reader)["tree"]) == expected

    @pytest.mark.parametrize("reader", ["here", "elsewhere"])
    def test_files_and_what_is_empty(self, kept: Body, reader: str) -> None:
        assert results(kept, reader)["file"] == "one\n"
        assert results(kept, reader)["empty"] == "true"

    @pytest.mark.parametrize("reader", ["here", "elsewhere"])
    def test_inputs_cannot_be_changed(self, kept: Body, reader: str) -> None:
        assert results(kept, reader)["changes"] == "0"

    def test_an_object_and_a_prefix_by_their_uris(self, kept: Body) -> None:
        assert results(kept, "uris") == {"one": "given/one.csv", "all": "a.csv sub/b.csv"}

    def test_a_uri_with_nothing_at_it_is_named(self, kept: Body, shared_bucket: str) -> None:
        failed = step(kept, "gone")

        assert (failed["state"], failed["reason"]) == ("Failed", "InputMissing")
        assert f"s3://{shared_bucket}/given/two.csv" in failed["message"]


TAMPERED = ("overwritten", "deleted", "tree-overwritten", "tree-file-deleted", "tree-manifest-deleted", "untouched")


def tampered() -> list[Body]:
    """A step that makes an artifact for each kind of tampering, and one step for each, which reads that."""
    write = f"""
import pathlib
for name in {TAMPERED!r}:
    path = pathlib.Path('/out', name)
    if name.startswith('tree'):
        path.mkdir()
        path = path / 'file'
    path.write_text('as it was')
"""
    readers = [
        python(f"read-{name}", "print('read')", **inputs("make", name), podTemplate=ANOTHER_POD) for name in TAMPERED
    ]
    return [python("make", HOLD + write, **outputs(*TAMPERED)), *readers]


@pytest.fixture(scope="module")
def after_tampering(runs: Cluster, orchestrator: str, s3_service: S3Server, shared_bucket: str) -> Body:
    """A run that is suspended between the steps, while the bucket is changed."""
    name = f"tampered-{orchestrator}"
    runs.wait("PipelineRun", name, lambda body: states(body).get("make") == "Running", 180, "make runs")
    runs.patch("PipelineRun", name, {"spec": {"suspend": True}})
    runs.release(name, "make")
    runs.wait_condition("PipelineRun", name, "Succeeded", status="Unknown", reason="Suspended", timeout=120)
    base, client = f"{runs.namespace}/test/{name}/make", s3_service.client()
    for key in ("overwritten", "tree-overwritten/file"):
        client.put_object(Bucket=shared_bucket, Key=f"{base}/{key}", Body=b"as it is.")
    for key in ("deleted", "tree-file-deleted/file", "tree-manifest-deleted.manifest.json"):
        client.head_object(Bucket=shared_bucket, Key=f"{base}/{key}")
        client.delete_object(Bucket=shared_bucket, Key=f"{base}/{key}")
    runs.patch("PipelineRun", name, {"spec": {"suspend": False}})
    return runs.finished(name, timeout=420)


class TestVerification:
    @pytest.mark.parametrize("name", ["overwritten", "tree-overwritten", "tree-file-deleted"])
    def test_an_artifact_with_other_content_is_not_handed_over(self, after_tampering: Body, name: str) -> None:
        failed = step(after_tampering, f"read-{name}")

        assert (failed["state"], failed["reason"]) == ("Failed", "ArtifactCorrupt")
        assert artifacts(after_tampering, "make")[name]["uri"] in failed["message"]
        assert "exitCode" not in failed

    @pytest.mark.parametrize("name", ["deleted", "tree-manifest-deleted"])
    def test_an_artifact_that_is_gone_is_named(self, after_tampering: Body, name: str) -> None:
        failed = step(after_tampering, f"read-{name}")

        assert (failed["state"], failed["reason"]) == ("Failed", "InputMissing")
        assert artifacts(after_tampering, "make")[name]["uri"] in failed["message"]

    def test_one_that_nobody_touched_is(self, after_tampering: Body) -> None:
        assert step(after_tampering, "read-untouched")["state"] == "Succeeded"


@pytest.mark.parametrize("on", ORCHESTRATORS)
def test_a_rerun_of_the_same_name_replaces_all_of_an_artifact(
    runs: Cluster, s3_service: S3Server, shared_bucket: str, on: str
) -> None:
    name = f"again-{on}"
    first = "import os\nos.mkdir('/out/tree')\nfor n in ('both', 'old'): open(f'/out/tree/{n}', 'w').write('1')\n"
    second = "import os\nos.mkdir('/out/tree')\nfor n in ('both', 'new'): open(f'/out/tree/{n}', 'w').write('2')\n"
    first += "open('/out/shape', 'w').write('file')"
    second += "os.mkdir('/out/shape')\nopen('/out/shape/in-it', 'w').write('directory')"
    kept: list[Body] = []
    for script in (first, second):
        runs.create(run(name, [python("make", script, **outputs("tree", "shape"))], on=on))
        kept.append(artifacts(completed(runs, name), "make"))
        runs.delete("PipelineRun", name)

    base = f"s3://{shared_bucket}/{runs.namespace}/test/{name}/make"
    assert [item["tree"]["uri"] for item in kept] == [f"{base}/tree"] * 2
    assert kept[0]["tree"]["digest"] != kept[1]["tree"]["digest"]
    assert sorted(_below(s3_service, base)) == [
        "attempt-1.log",
        "shape.manifest.json",
        "shape/in-it",
        "tree.manifest.json",
        "tree/both",
        "tree/new",
    ]
    assert s3_service.read(f"{base}/tree/both") == b"2"


@pytest.mark.parametrize("on", ORCHESTRATORS)
def test_a_bucket_that_no_longer_lets_it_write_is_named(
    stacks: Cluster, s3_service: S3Server, bucket: str, on: str
) -> None:
    s3_service.let_reader_write(bucket)
    stacks.apply(secret("reader", **s3_service.reader_credentials))
    stacks.apply(component("reader", s3(bucket, s3_service.endpoint, credentials="reader")))
    stacks.apply(stack("of-reader", orchestrator=on, store="reader"))
    stacks.wait_condition("Stack", "of-reader", "Ready", status="True", timeout=60)
    stacks.create(run("denied", [python("make", HOLD + "open('/out/file', 'w')", **outputs("file"))], on="of-reader"))
    stacks.wait("PipelineRun", "denied", lambda body: states(body).get("make") == "Running", 180, "make runs")

    s3_service.let_reader_read(bucket)
    stacks.release("denied", "make")

    failed = step(stacks.finished("denied"), "make")
    assert (failed["state"], failed["reason"]) == ("Failed", "ArtifactStoreDenied")
    assert bucket in failed["message"]
    assert "artifacts" not in failed
