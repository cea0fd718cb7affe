"""Kubeflow Pipelines in the cluster: the backend of tests/kfp, or a real one, and an independent way to ask it.

`CAIRN_KFP_ENDPOINT`, such as `http://ml-pipeline.kubeflow.svc:8888`, names a real one in the cluster that the tests run in; its
launcher is told of the tests' bucket.
"""

from __future__ import annotations

import json
import os
import secrets
import urllib.parse
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from tests.kfp.deployment import PORT, SERVICE, objects

import images
from cluster import Body, Cluster
from manifests import secret
from port_forward import PortForward
from s3 import S3Server

ENDPOINT_VARIABLE = "CAIRN_KFP_ENDPOINT"
SECRET_NAME = "cairn-tests-s3"  # noqa: S105 - a name
LAUNCHER = "kfp-launcher"


@dataclass(frozen=True)
class KubeflowServer:
    """Where the server is."""

    cluster: Cluster
    """With its namespace."""
    endpoint: str
    """Its address within the cluster."""
    way: PortForward
    is_real: bool
    tokens: list[str] = field(default_factory=list[str])
    """The last one is that which it wants."""

    def component(self, **fields: Any) -> Body:
        """Return the spec of the orchestrator."""
        return {
            "orchestrator": {"kubeflow": {"endpoint": self.endpoint, "namespace": self.cluster.namespace, **fields}}
        }

    def runs_of(self, run: Body) -> list[Body]:
        """Return the server's runs of a PipelineRun, those that are not needed too."""
        name = f"{run['metadata']['name']}-{run['metadata']['uid']}"
        predicate = {"key": "display_name", "operation": "EQUALS", "string_value": name}
        query = urllib.parse.urlencode({"filter": json.dumps({"predicates": [predicate]}), "page_size": 100})
        return self.ask("GET", f"/apis/v2beta1/runs?{query}").get("runs", [])

    def fails(self, **fault: Any) -> None:
        """Have the server fail as tests/kfp/backend/faults.py tells."""
        self._is_told()
        self.ask("POST", "/faults", fault)

    def recovers(self) -> None:
        """End all faults."""
        self._is_told()
        self.ask("DELETE", "/faults")

    def wants_token(self, token: str) -> None:
        """Have the server want another token; an empty one is none."""
        self._is_told()
        self.ask("PUT", "/token", {"token": token})
        self.tokens.append(token)

    def requests(self) -> dict[str, int]:
        """Return how often each route was asked for."""
        self._is_told()
        return self.ask("GET", "/requests")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return what the server answers."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.tokens[-1]}"} if self.tokens else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.way.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return json.load(answer)

    def _is_told(self) -> None:
        if self.is_real:
            pytest.skip("a real Kubeflow Pipelines cannot be told to fail")


@contextmanager
def kubeflow_server(cluster: Cluster, s3_service: S3Server, *options: str) -> Generator[KubeflowServer]:
    """Start the backend, or use the one that the environment names."""
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    if endpoint:
        namespace = (urllib.parse.urlsplit(endpoint).hostname or "").split(".")[1]
        with _reached(cluster.within(namespace), endpoint, s3_service, is_real=True) as server:
            yield server
        return
    with cluster.temporary_namespace(f"e2e-kubeflow-{secrets.token_hex(4)}", {}) as namespace:
        image = images.image("OPERATOR_IMAGE")
        settings = {"s3_endpoint": s3_service.endpoint, "s3_secret": SECRET_NAME}
        namespace.apply(secret(SECRET_NAME, **s3_service.credentials))
        for body in objects(namespace.namespace, image=image, options=["--requeue-seconds=1", *options], **settings):
            namespace.apply(body)
        namespace.wait("Deployment", "kfp-backend", lambda body: body.get("status", {}).get("readyReplicas") == 1, 120)
        endpoint = f"http://{SERVICE}.{namespace.namespace}.svc:{PORT}"
        with _reached(namespace, endpoint, s3_service, is_real=False) as server:
            yield server


@contextmanager
def _reached(cluster: Cluster, endpoint: str, s3_service: S3Server, *, is_real: bool) -> Generator[KubeflowServer]:
    cluster.apply(secret(SECRET_NAME, **s3_service.credentials))
    cluster.apply(launcher(s3_service))
    way = PortForward(cluster.namespace, f"service/{SERVICE}", PORT)
    try:
        yield KubeflowServer(cluster, endpoint, way, is_real)
    finally:
        way.close()


def launcher(s3_service: S3Server) -> Body:
    """Return what tells Kubeflow Pipelines' launcher how to reach the tests' bucket, as docs/kubeflow.md has it."""
    ref = {"secretName": SECRET_NAME, "accessKeyKey": "AWS_ACCESS_KEY_ID", "secretKeyKey": "AWS_SECRET_ACCESS_KEY"}
    default = {
        "endpoint": urllib.parse.urlsplit(s3_service.endpoint).netloc,
        "region": "us-east-1",
        "disableSSL": True,
        "forcePathStyle": True,
        "credentials": {"fromEnv": False, "secretRef": ref},
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LAUNCHER},
        "data": {"providers": yaml.safe_dump({"s3": {"default": default}})},
    }
