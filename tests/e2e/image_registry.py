"""An image registry in the cluster, which this machine and the nodes know by the same name."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cluster import Cluster
from images import image
from port_forward import PortForward

PORT = 5000
NAME = "registry"
CONFIG = f"""
version: 0.1
storage: {{filesystem: {{rootdirectory: /data}}}}
http: {{addr: ":{PORT}"}}
"""


@contextmanager
def image_registry(namespace: Cluster) -> Generator[str]:
    """Start a registry, and return its name.

    Docker and containerd speak plain HTTP with 127.0.0.1. There, a node has the Service's node port, and this machine a way to it.
    """
    labels = {"app": NAME}
    namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"config.yml": CONFIG}}
    )
    container = {
        "name": NAME,
        "image": image("REGISTRY_IMAGE"),
        "command": ["registry", "serve", "/etc/registry/config.yml"],
        "readinessProbe": {"httpGet": {"path": "/v2/", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/registry"}, {"name": "data", "mountPath": "/data"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec})
    service = {"type": "NodePort", "selector": labels, "ports": [{"port": PORT}]}
    made = namespace.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": service})
    namespace.wait("Deployment", NAME, lambda body: body.get("status", {}).get("readyReplicas") == 1, 120)
    way = PortForward(namespace.namespace, f"service/{NAME}", PORT, at=made["spec"]["ports"][0]["nodePort"])
    try:
        yield f"127.0.0.1:{way.port}"
    finally:
        way.close()
