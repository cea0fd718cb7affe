"""`helm uninstall` with live objects: nothing hangs, and artifacts stay. Runs last; the operator is installed again after it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from cluster import Cluster, states
from manifests import python, run
from operator_release import install
from s3 import S3Server

pytestmark = pytest.mark.alone


@pytest.fixture
def installed_again(cluster: Cluster) -> Iterator[None]:
    """Install the operator again, whatever became of it."""
    yield
    install()
    cluster.wait("Deployment", "cairn", lambda body: body.get("status", {}).get("readyReplicas") == 1, 60)


@pytest.mark.usefixtures("installed_again")
def test_with_live_objects(stacks: Cluster, s3_service: S3Server) -> None:
    output = {"artifacts": [{"name": "kept", "path": "/out/kept"}]}
    steps = [
        python("first", "open('/out/kept', 'w').write('still here')", outputs=output),
        python("second", "import time; time.sleep(600)", dependsOn=["first"]),
    ]
    stacks.create(run("on-its-way", steps, on="kubernetes"))
    body = stacks.wait("PipelineRun", "on-its-way", lambda body: states(body).get("second") == "Running", 120)
    uri = body["status"]["steps"][0]["artifacts"][0]["uri"]

    subprocess.run(
        ["helm", "uninstall", "cairn", "--namespace", "cairn-system", "--wait", "--timeout", "120s"],
        check=True,
        env=os.environ.copy(),
        timeout=150,
    )

    for kind, name in (("StackComponent", "bucket"), ("Stack", "kubernetes"), ("PipelineRun", "on-its-way")):
        left = stacks.get(kind, name)
        assert left is not None, f"{kind} {name} went with the operator"
        assert not left["metadata"].get("finalizers")
        stacks.delete(kind, name)
        stacks.wait_gone(kind, name, timeout=15)
    stacks.wait_gone("Job", "on-its-way-second-1", timeout=30)
    assert s3_service.read(uri) == b"still here"
