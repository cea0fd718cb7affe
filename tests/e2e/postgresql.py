"""A PostgreSQL server in a test's namespace."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from cluster import Cluster
from images import image

NAME = "postgresql"
PORT = 5432
USER = "mlflow"
DATABASE = "postgres"
UID = 999
"""Of the user `postgres` in the image."""

START = """
set -e
if [ ! -e /data/database ]; then
    rm -rf /data/new
    initdb --pgdata=/data/new --username=$USER --pwfile=/secret/password --encoding=UTF8 --locale=C.UTF-8 \\
        --auth-local=trust --auth-host=scram-sha-256
    echo 'host all all all scram-sha-256' >>/data/new/pg_hba.conf
    mv /data/new /data/database
fi
exec postgres -D /data/database -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


@dataclass(frozen=True)
class PostgreSQL:
    """Where the server is."""

    cluster: Cluster
    secret: str = NAME
    """Secret whose key `uri` says how to connect."""

    def scale(self, replicas: int) -> None:
        """Stop the server, or start it again with the data that it had."""
        self.cluster.kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")
        if replicas == 0:
            self.cluster.kubectl("wait", "--for=delete", "pod", f"--selector=app={NAME}", "--timeout=60s")
        else:
            self.wait_ready()

    def sql(self, statement: str) -> str:
        """Execute a statement as the owner of the database and return what it gives, a row a line."""
        psql = ("psql", "--host=/tmp", f"--username={USER}", f"--dbname={DATABASE}", "--no-align", "--tuples-only")
        return self.cluster.kubectl("exec", f"deployment/{NAME}", "--", *psql, f"--command={statement}")

    def wait_ready(self) -> None:
        """Wait until the server answers."""
        self.cluster.wait("Deployment", NAME, lambda body: body.get("status", {}).get("readyReplicas") == 1, 120)


def postgresql(cluster: Cluster) -> PostgreSQL:
    """Start a server; it ends with the namespace."""
    password = secrets.token_hex(10)
    uri = f"postgresql+psycopg2://{USER}:{password}@{NAME}.{cluster.namespace}:{PORT}/{DATABASE}"
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": NAME},
            "stringData": {"password": password, "uri": uri},
        }
    )
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": NAME},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
        }
    )
    cluster.apply(_deployment())
    server = PostgreSQL(cluster)
    server.wait_ready()
    return server


def _deployment() -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": image("POSTGRES_IMAGE"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", START],
        "env": [{"name": "USER", "value": USER}],
        "readinessProbe": {
            "exec": {"command": ["pg_isready", "--host=127.0.0.1", f"--username={USER}"]},
            "periodSeconds": 1,
        },
        # At SIGTERM it would wait for its clients to leave.
        "lifecycle": {"preStop": {"exec": {"command": ["pg_ctl", "stop", "--pgdata=/data/database", "--mode=fast"]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the server's container
            {"name": "secret", "mountPath": "/secret", "readOnly": True},
        ],
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": NAME, "items": [{"key": "password", "path": "password"}]}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
        },
    }
