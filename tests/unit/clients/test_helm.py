"""What Helm is asked, and how its answers are read; a script that notes its arguments stands in for it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cairn.api.base import JsonObject
from cairn.clients.helm import Helm, HelmError, revisions_of
from cairn.clients.kubernetes import SECRETS
from tests.unit.fake_kubernetes import FakeKubernetes


def helm_secret(number: int, status: str) -> JsonObject:
    name = f"sh.helm.release.v1.tracker.v{number}"
    labels = {"owner": "helm", "name": "tracker", "status": status, "version": str(number)}
    created = "2026-01-02T03:04:05Z"
    return {"metadata": {"namespace": "ml", "name": name, "creationTimestamp": created, "labels": labels}}


class Script:
    """A program that prints what it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def says(self, output: str = "", errors: str = "", code: int = 0, *, lasting: bool = False) -> Helm:
        lines = [
            "#!/bin/sh",
            f"printf '%s\\n' \"$@\" > {self.path}.arguments",
            f'case "$*" in *--values=-*) cat > {self.path}.input;; esac',
            f"cat <<'END'\n{output}\nEND",
            f"cat >&2 <<'END'\n{errors}\nEND",
            *(
                [
                    f"trap 'echo stopped > {self.path}.end; exit 1' TERM",
                    f"echo > {self.path}.begun",
                    "while :; do sleep 0.02; done",
                ]
                if lasting
                else []
            ),
            f"exit {code}",
        ]
        self.path.write_text("\n".join(lines))
        self.path.chmod(self.path.stat().st_mode | stat.S_IEXEC)
        return Helm(str(self.path))

    def left(self, what: str) -> str:
        return Path(f"{self.path}.{what}").read_text()

    @property
    def arguments(self) -> list[str]:
        return self.left("arguments").splitlines()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path / "helm")


async def test_what_helm_says_of_a_revision_is_its_description(script: Script):
    helm = script.says(json.dumps({"info": {"status": "failed", "description": "timed out"}}))

    assert await helm.description("ml", "tracker", 3) == "timed out"
    assert script.arguments[:4] == ["status", "tracker", "--namespace=ml", "--revision=3"]


async def test_an_error_is_told_in_helm_s_words(script: Script):
    helm = script.says(errors="WARNING: old flag\nError: Kubernetes cluster unreachable", code=1)

    with pytest.raises(HelmError, match=r"^Kubernetes cluster unreachable$"):
        await helm.manifest("ml", "tracker")


async def test_an_error_without_a_word_is_one(script: Script):
    with pytest.raises(HelmError, match="it says nothing"):
        await script.says(code=1).uninstall("ml", "tracker", seconds=1)


async def test_values_are_given_aside_of_the_arguments(script: Script):
    values = {"postgresql": {"uriSecret": {"name": "db"}}}
    helm = script.says()

    await helm.upgrade("ml", "tracker", Path("/charts/mlflow"), values, labels={"cairn.dev/component": "a"}, seconds=60)

    assert json.loads(script.left("input")) == values
    assert script.arguments[:4] == ["upgrade", "tracker", "/charts/mlflow", "--namespace=ml"]
    assert {"--install", "--wait", "--timeout=60s", "--labels=cairn.dev/component=a"} <= set(script.arguments)


async def test_the_manifest_is_objects(script: Script):
    helm = script.says("---\nkind: Service\n---\n# nothing\n---\nkind: Deployment")

    assert [item["kind"] for item in await helm.manifest("ml", "tracker")] == ["Service", "Deployment"]


async def test_a_release_that_is_gone_need_not_be_uninstalled(script: Script):
    await script.says().uninstall("ml", "tracker", seconds=60)

    assert "--ignore-not-found" in script.arguments


async def test_helm_is_told_to_stop_when_nobody_awaits_it_any_more(script: Script):
    helm = script.says(lasting=True)
    os.mkfifo(f"{script.path}.begun")
    task = asyncio.create_task(helm.rollback("ml", "tracker", 2))
    await asyncio.to_thread(script.left, "begun")
    while not helm.running:  # noqa: ASYNC110 - asyncio kills what it is still connecting to, and tells nobody when it is
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert script.left("end") == "stopped\n"


async def test_revisions_are_read_from_the_labels_of_their_secrets():
    kubernetes = FakeKubernetes()
    for number, status in ((3, "failed"), (2, "deployed")):
        kubernetes.add(SECRETS, helm_secret(number, status))

    revisions = await revisions_of(kubernetes, "ml", "tracker")

    assert [(revision.number, revision.status) for revision in revisions] == [(2, "deployed"), (3, "failed")]
    assert revisions[0].created == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_secrets_that_only_look_like_helm_s_are_none_of_its():
    kubernetes = FakeKubernetes()
    forged = helm_secret(1, "deployed")
    forged["metadata"] |= {"name": "forged", "labels": {"owner": "helm", "name": "tracker"}}
    kubernetes.add(SECRETS, forged)

    assert await revisions_of(kubernetes, "ml", "tracker") == ()


async def test_what_it_says_is_told_in_one_line(script: Script):
    helm = script.says(errors="Error: UPGRADE FAILED: values are wrong:\n- at '': no such value.", code=1)

    with pytest.raises(HelmError) as error:
        await helm.manifest("ml", "tracker")

    assert str(error.value) == "values are wrong: - at '': no such value"
