"""A cluster without Cairn, and what every installation of it has to be good for."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from cluster import Cluster, condition
from images import CHECKOUT
from manifests import RESTRICTED

SYSTEM = "cairn-system"
KINDS = ("stackcomponents", "stacks", "pipelines", "pipelineschedules", "pipelineruns")
HELLO = CHECKOUT / "manifests/samples/run-hello.yaml"
OF_CAIRN = "app.kubernetes.io/name=cairn"


def empty(cluster: Cluster) -> None:
    """Remove the operator however it was installed, its namespace, its roles and its CRDs, and so all objects of its kinds."""
    released = [str(CHECKOUT / "manifests/install/release.sh")]
    subprocess.run(released, check=True, timeout=120)
    leave = ("--ignore-not-found", "--wait", "--timeout=120s")
    subprocess.run(["helm", "uninstall", "cairn", f"--namespace={SYSTEM}", "--no-hooks", *leave], check=True)
    gone = ("--ignore-not-found", "--timeout=120s")
    cluster.kubectl("delete", "crd", *(f"{kind}.cairn.dev" for kind in KINDS), *gone)
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", f"--selector={OF_CAIRN}", *gone)
    cluster.kubectl("delete", "namespace", SYSTEM, *gone)


def left(cluster: Cluster) -> list[str]:
    """Return what there is of Cairn besides its CRDs and the namespace."""
    kinds = "all,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,lease,networkpolicy"
    return cluster.within(SYSTEM).kubectl("get", kinds, f"--selector={OF_CAIRN}", "--output=name").splitlines()


def restricted(cluster: Cluster, name: str) -> Cluster:
    """Make a namespace that allows restricted pods only, and return it."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    return cluster.within(name)


def says_hello(namespace: Cluster, name: str) -> None:
    """Run the sample that needs no set-up, and check that it completes."""
    body = yaml.safe_load(HELLO.read_text())
    namespace.create({**body, "metadata": {"name": name}})

    assert completed(namespace.finished(name, timeout=240))


def completed(run: Mapping[str, Any] | None) -> bool:
    """Whether a run that is there has done what it should."""
    return run is not None and condition(run, "Succeeded").get("reason") == "Completed"
