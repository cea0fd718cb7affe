"""What a component sees of its namespace, from what is watched."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.api.conditions import condition_of
from cairn.clients.cluster import Cluster
from cairn.components.registry import AnyFlavor, loaded


class Neighbours:
    """The other components of a namespace, and its Secrets' versions."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def component(self, name: str) -> AnyFlavor | None:
        """Return another component; None where there is none, or its spec is not valid."""
        body = self._cluster.components.get((self._namespace, name))
        return loaded(body) if body is not None else None

    def readiness(self, name: str) -> JsonObject | None:
        """Return the condition Ready of another component; None where there is none yet."""
        body = self._cluster.components.get((self._namespace, name))
        return condition_of(body, "Ready") if body is not None else None

    def version_of_secret(self, name: str) -> str:
        """Return the version of a Secret, which any change of it changes; empty where there is none."""
        secret = self._cluster.secrets.get((self._namespace, name))
        return str(secret["metadata"]["resourceVersion"]) if secret is not None else ""
