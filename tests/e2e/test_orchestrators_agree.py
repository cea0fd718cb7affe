"""The same run gives the same states, digests and results, whatever runs it."""

from __future__ import annotations

import hashlib
import json

import pytest

from cluster import Body, Cluster, states, step
from manifests import ORCHESTRATORS, python, run
from s3 import S3Server

MIB = 1 << 20
SIZE = 300 * MIB

MAKE = """
import hashlib, json, os, pathlib
pathlib.Path('/out/byte').write_bytes(b'x')
block = bytes(range(256)) * 4096
with open('/out/large', 'wb') as file:
    for number in range(300):
        file.write(number.to_bytes(4, 'big') + block[4:])
tree = pathlib.Path('/out/tree')
for number in range(2000):
    path = tree / f'{number % 20:02}' / f'{number}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'file {number}\\n')
json.dump({'factor': int(os.environ['CAIRN_PARAM_FACTOR']), 'files': 2000}, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
COUNT = """
import json, os, pathlib
files = sorted(path for path in pathlib.Path('/in/tree').rglob('*') if path.is_file())
json.dump({'count': len(files), 'size': os.path.getsize('/in/large')}, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
MULTIPLY = """
import json, os, pathlib, sys
number = int(sys.argv[1]) * int(os.environ['INDEX'])
pathlib.Path('/out/part').write_text(pathlib.Path('/in/byte').read_text() * number)
json.dump({'product': number}, open(os.environ['CAIRN_RESULTS'], 'w'))
"""
JOIN = """
import json, os, pathlib
parts = [path.read_text() for path in sorted(pathlib.Path('/in').iterdir())]
pathlib.Path('/out/joined').write_text('\\n'.join(parts))
json.dump({'length': sum(map(len, parts))}, open(os.environ['CAIRN_RESULTS'], 'w'))
"""


def twelve_steps() -> list[Body]:
    """A diamond (make, left and right, bottom), a fan-out of six from it and their join, and an end."""

    def artifact(name: str, path: str, **fields: str) -> Body:
        return {"name": name, "path": path, **fields}

    outputs = [artifact("byte", "/out/byte"), artifact("large", "/out/large"), artifact("tree", "/out/tree")]
    make = python("make", MAKE, outputs={"artifacts": outputs, "results": ["factor", "files"]})
    left = python(
        "left",
        COUNT,
        inputs={
            "artifacts": [
                artifact("tree", "/in/tree", **{"from": "make.tree"}),
                artifact("large", "/in/large", **{"from": "make.large"}),
            ]
        },
        outputs={"results": ["count", "size"]},
    )
    right = python("right", "print('nothing to keep')", dependsOn=["make"])
    bottom = python("bottom", "print('both are there')", dependsOn=["left", "right"])
    parts: list[Body] = [
        {
            "name": f"part-{index}",
            "image": make["image"],
            "command": ["python", "-c", MULTIPLY, "$(steps.make.results.factor)"],
            "env": [{"name": "INDEX", "value": str(index)}],
            "dependsOn": ["bottom"],
            "inputs": {"artifacts": [artifact("byte", "/in/byte", **{"from": "make.byte"})]},
            "outputs": {"artifacts": [artifact("part", "/out/part")], "results": ["product"]},
        }
        for index in range(1, 7)
    ]
    join = python(
        "join",
        JOIN,
        inputs={
            "artifacts": [
                artifact(f"part-{index}", f"/in/{index}", **{"from": f"part-{index}.part"}) for index in range(1, 7)
            ]
        },
        outputs={"artifacts": [artifact("joined", "/out/joined")], "results": ["length"]},
    )
    end = {
        "name": "end",
        "image": make["image"],
        "command": ["python", "-c", "import sys; assert sys.argv[1:] == ['42', 'seven']"],
        "args": ["$(steps.join.results.length)", "$(params.word)"],
    }
    return [make, left, right, bottom, *parts, join, end]


ALL_ORCHESTRATORS = (*ORCHESTRATORS, "kubeflow")


@pytest.fixture(scope="module")
def runs(kubeflow_stack: Cluster) -> Cluster:
    """The run on each orchestrator, started together."""
    parameters = [{"name": "factor", "value": "2"}, {"name": "word", "value": "seven"}]
    for on in ALL_ORCHESTRATORS:
        kubeflow_stack.create(run(f"twelve-{on}", twelve_steps(), on=on, parameters=parameters))
    return kubeflow_stack


@pytest.mark.parametrize("orchestrator", ALL_ORCHESTRATORS)
def test_twelve_steps(runs: Cluster, s3_service: S3Server, orchestrator: str) -> None:
    finished = runs.finished(f"twelve-{orchestrator}", timeout=420)

    assert set(states(finished).values()) == {"Succeeded"}, finished["status"]
    assert _digests(finished) == _expected_digests()
    assert _results(finished) == {
        "make": {"factor": "2", "files": "2000"},
        "left": {"count": "2000", "size": str(SIZE)},
        **{f"part-{index}": {"product": str(2 * index)} for index in range(1, 7)},
        "join": {"length": "42"},
    }
    joined = step(finished, "join")["artifacts"][0]
    content = s3_service.read(joined["uri"])
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == joined["digest"]
    assert joined["sizeBytes"] == len(content)
    tree = next(item for item in step(finished, "make")["artifacts"] if item["name"] == "tree")
    assert len(s3_service.keys(f"{tree['uri']}/")) == 2000


def _digests(finished: Body) -> dict[str, str]:
    return {
        f"{item['name']}.{artifact['name']}": artifact["digest"]
        for item in finished["status"]["steps"]
        for artifact in item.get("artifacts", ())
    }


def _results(finished: Body) -> dict[str, dict[str, str]]:
    return {
        item["name"]: {result["name"]: result["value"] for result in item["results"]}
        for item in finished["status"]["steps"]
        if "results" in item
    }


def _expected_digests() -> dict[str, str]:
    def digest(content: bytes) -> str:
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    block = bytes(range(256)) * 4096
    large = hashlib.sha256()
    for number in range(300):
        large.update(number.to_bytes(4, "big") + block[4:])
    parts = {index: b"x" * (2 * index) for index in range(1, 7)}
    return {
        "make.byte": digest(b"x"),
        "make.large": f"sha256:{large.hexdigest()}",
        "make.tree": _tree_digest({f"{n % 20:02}/{n}.txt": f"file {n}\n".encode() for n in range(2000)}),
        **{f"part-{index}.part": digest(content) for index, content in parts.items()},
        "join.joined": digest(b"\n".join(parts.values())),
    }


def _tree_digest(files: dict[str, bytes]) -> str:
    """The digest of a directory as docs/artifacts.md defines it: that of its manifest."""
    entries = [
        {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for path, content in sorted(files.items())
    ]
    manifest = {"directories": [], "files": entries, "version": 1}
    return f"sha256:{hashlib.sha256(json.dumps(manifest, separators=(',', ':')).encode()).hexdigest()}"
