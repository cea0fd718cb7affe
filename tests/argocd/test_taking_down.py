"""The platform is taken down as docs/argocd.md tells."""

from __future__ import annotations

import re

from polling import poll
from tests.argocd.conftest import Platform
from tests.argocd.images import CHECKOUT
from tests.argocd.platform import APPLICATIONS

KINDS = ("Pipeline", "PipelineSchedule", "PipelineRun", "Stack", "StackComponent")


def documented() -> list[list[str]]:
    """Return the commands of the page's last section."""
    section = (CHECKOUT / "docs/argocd.md").read_text().split("## Taking it down", 1)[1]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line.split()[1:] for line in block.splitlines()]


def test_nothing_hangs_and_nothing_is_left_that_the_operator_made(platform: Platform):
    for application in ("runs", "labelled", "time-to-live"):
        platform.argo.cluster.kubectl("delete", "application", application, "--ignore-not-found", "--timeout=120s")

    for command in documented():
        platform.argo.cluster.kubectl(*command, "--timeout=180s")

    for kind in KINDS:
        # what somebody has created by hand or by an action is nobody's to take away
        names = [body["metadata"]["name"] for body in platform.team.list(kind)]
        left = [name for name in names if not re.fullmatch(r"(test|train)-\d{14}", name)]
        assert left == [], kind
    poll(lambda: platform.team.get("Deployment", "mlflow-server"), lambda found: found is None, 60, "MLflow is left")
    assert platform.argo.cluster.within("cairn-system").get("Deployment", "cairn") is None
    for name in APPLICATIONS:
        assert platform.argo.cluster.get("Application", name) is None
