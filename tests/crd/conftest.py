from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes import config
from kubernetes.config import ConfigException

from cairn.api.base import GROUP, JsonObject

from .api_server import ApiServer
from .manifests import crds

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    cache = tmp_path_factory.mktemp("kubectl")

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", f"--cache-dir={cache}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode:
            pytest.fail(f"kubectl {' '.join(arguments)}:\n{done.stderr}")
        return done

    if not os.environ.get("KUBECONFIG"):
        pytest.exit("these tests need an API server: run `make test-crd`, or set KUBECONFIG", returncode=2)
    try:
        config.load_kube_config()
    except ConfigException as error:
        pytest.exit(f"KUBECONFIG={os.environ['KUBECONFIG']} cannot be used: {error}", returncode=2)
    if run("version", "--request-timeout=10s", check=False).returncode:
        pytest.exit(f"the API server of KUBECONFIG={os.environ['KUBECONFIG']} does not answer", returncode=2)
    return run


@pytest.fixture(scope="session")
def api_server(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The CRDs of this checkout as a group of their own, which no operator watches and no other test changes."""
    name = f"crd-test-{secrets.token_hex(3)}"
    folder = renamed_crds(f"{name}.{GROUP}", tmp_path_factory.mktemp("crds"))
    try:
        kubectl("create", "namespace", name)
        install(kubectl, folder)
        yield ApiServer(
            f"{name}.{GROUP}", name, {crd["spec"]["names"]["kind"]: crd["spec"]["names"]["plural"] for crd in crds()}
        )
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", str(folder))
        kubectl("delete", "--ignore-not-found", "--wait=false", "namespace", name)


def renamed_crds(group: str, folder: Path) -> Path:
    """Write the CRDs under another group and return where."""
    for crd in crds():
        plural = crd["spec"]["names"]["plural"]
        renamed: JsonObject = {
            **crd,
            "metadata": {**crd["metadata"], "name": f"{plural}.{group}"},
            "spec": {**crd["spec"], "group": group},
        }
        (folder / f"{plural}.json").write_text(json.dumps(renamed))
    return folder


def install(kubectl: Kubectl, folder: Path, *options: str) -> None:
    """Apply the CRDs and wait until the API server serves them."""
    kubectl("apply", *options, "-f", str(folder))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(folder))


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    """Return whether it comes to hold in that time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True
