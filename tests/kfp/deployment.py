"""The objects that start the backend in a cluster: its code is a ConfigMap, its image is any that has the libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kfp.backend.pod_spec import CODE_PATH, RESTRICTED

Json = dict[str, Any]
NAME = "kfp-backend"
SERVICE = "ml-pipeline"
"""As KFP's own."""
PORT = 8888
STEPS = "pipeline-runner"
"""The service account of runs that name none, as in KFP."""
CODE = Path(__file__).parent / "backend"


def objects(
    namespace: str, *, image: str, s3_endpoint: str, s3_secret: str, options: list[str] | None = None
) -> list[Json]:
    """Return what is to be applied, on the server's side as the code is large; `options` are of the backend's command line."""
    arguments = [
        f"--image={image}",
        f"--code={NAME}",
        f"--s3-endpoint={s3_endpoint}",
        f"--s3-secret={s3_secret}",
        "--state=/state",
        *(options or []),
    ]
    found = [_code(), _service(), _deployment(image, arguments)]
    found += _account(NAME, {"pods": ["create", "get", "list", "watch", "patch", "delete"]})
    found += _account(STEPS, {"pods": ["get", "patch"], "pods/log": ["get"]})
    for one in found:
        one["metadata"]["namespace"] = namespace
        for subject in one.get("subjects", []):
            subject["namespace"] = namespace
    return found


def _code() -> Json:
    files = {path.name: path.read_text() for path in sorted(CODE.glob("*.py"))}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": files}


def _service() -> Json:
    spec = {"selector": {"app": NAME}, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE}, "spec": spec}


def _account(name: str, rules: dict[str, list[str]]) -> list[Json]:
    api = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [""], "resources": [kind], "verbs": verbs} for kind, verbs in rules.items()],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        },
    ]


def _deployment(image: str, arguments: list[str]) -> Json:
    container: Json = {
        "name": "backend",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "backend", *arguments],
        "env": [{"name": "PYTHONPATH", "value": CODE_PATH}, {"name": "PYTHONUNBUFFERED", "value": "1"}],
        "ports": [{"containerPort": PORT}],
        # Not `/healthz`, which may want a token or be made to fail.
        "readinessProbe": {"httpGet": {"path": "/requests", "port": PORT}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {**RESTRICTED, "runAsUser": 65532},
        "volumeMounts": [
            {"name": "code", "mountPath": f"{CODE_PATH}/backend"},
            {"name": "state", "mountPath": "/state"},
        ],
    }
    pod: Json = {
        "serviceAccountName": NAME,
        "containers": [container],
        "securityContext": {"fsGroup": 65532},
        "volumes": [{"name": "code", "configMap": {"name": NAME}}, {"name": "state", "emptyDir": {}}],
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app": NAME}},
        "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": spec}
