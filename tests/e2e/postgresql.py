"""A PostgreSQL server in a test's namespace."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import yaml

from cluster import Cluster
from images import CHECKOUT, image

MANIFEST = CHECKOUT / "tests/cluster/postgresql.yaml"

NAME = "postgresql"
USER = "mlflow"
DATABASE = "postgres"


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
    given = {
        "PASSWORD": secrets.token_hex(10),
        "NAMESPACE": cluster.namespace,
        "POSTGRES_IMAGE": image("POSTGRES_IMAGE"),
    }
    text = MANIFEST.read_text()
    for name, value in given.items():
        text = text.replace(f"@{name}@", value)
    for body in yaml.safe_load_all(text):
        cluster.apply(body)
    server = PostgreSQL(cluster)
    server.wait_ready()
    return server
