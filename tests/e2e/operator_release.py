"""The operator's Helm release: of this checkout, and of the version before."""

from __future__ import annotations

import subprocess

from cluster import Cluster, condition
from faults import OPERATOR
from images import CHECKOUT, image
from polling import poll

NAMESPACE = "cairn-system"
PREVIOUS_CHART = CHECKOUT / ".cluster/operator-previous/charts/cairn"
READY_SECONDS = 180


def install(*options: str) -> None:
    """Install or upgrade to this checkout's operator, as `make install` does."""
    subprocess.run([str(CHECKOUT / "tests/cluster/install.sh"), *options], check=True, timeout=300)


def install_previous(cluster: Cluster) -> None:
    """Install, or go back to, the version before, by its own chart."""
    repository, _, tag = image("OPERATOR_PREVIOUS_IMAGE").rpartition(":")
    images = {"image.repository": repository, "image.tag": tag, "mlflow.image": image("MLFLOW_IMAGE")}
    values = [option for name, value in images.items() for option in ("--set", f"{name}={value}")]
    _helm("upgrade", "--install", "cairn", str(PREVIOUS_CHART), *values)
    wait_for_one(cluster, image("OPERATOR_PREVIOUS_IMAGE"))


def roll_back(cluster: Cluster) -> None:
    """Go back by `helm rollback`, from this checkout's version to the one before."""
    _helm("rollback", "cairn")
    wait_for_one(cluster, image("OPERATOR_PREVIOUS_IMAGE"))


def wait_for_one(cluster: Cluster, of_image: str) -> None:
    """Wait until there is one pod of the operator, ready and of an image."""

    def pods() -> list[tuple[str, str]]:
        return [
            (pod["spec"]["containers"][0]["image"], condition(pod, "Ready").get("status", ""))
            for pod in cluster.within(NAMESPACE).list("Pod", OPERATOR)
        ]

    poll(pods, lambda found: found == [(of_image, "True")], READY_SECONDS, f"there was not one operator of {of_image}")


def _helm(*arguments: str) -> None:
    command = ["helm", *arguments, "--namespace", NAMESPACE, "--wait", f"--timeout={READY_SECONDS}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
