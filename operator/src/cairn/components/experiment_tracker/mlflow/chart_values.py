"""From the `server` of an experiment tracker to values of the chart `mlflow`. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from cairn.api.base import GROUP, JsonObject
from cairn.components.artifact_store.s3.store import S3
from cairn.components.base import Release, Surroundings
from cairn.components.experiment_tracker.mlflow.server_config import Server
from cairn.components.progress import STORE_NOT_SUITABLE
from cairn.components.releases.values import merged
from cairn.components.secrets import UnusableError

CHART = "mlflow"
PORT = 5000
"""Of the server, unless the values of the chart name another."""
SECRETS_ANNOTATION = f"{GROUP}/secrets"
"""A digest of the versions of what the server reads when it starts, so that it starts anew when they change."""


def release_of(server: Server, key: str, auth_secret: str | None, surroundings: Surroundings) -> Release:
    """Return the release of a server whose artifacts are kept below a key; raises UnusableError."""
    store = _bucket(server, surroundings)
    values: JsonObject = {
        "replicas": server.replicas,
        "volume": _volume(server),
        "podAnnotations": {SECRETS_ANNOTATION: _digest(_secrets(server, auth_secret, store), surroundings)},
    }
    if server.postgresql is not None:
        ref = server.postgresql.uri_secret_ref
        values["postgresql"] = {"uriSecret": {"name": ref.name, "key": ref.key}}
    if auth_secret is not None:
        values["auth"] = {"enabled": True, "existingSecret": auth_secret}
    if store is not None:
        values |= _artifacts(store, key, server.artifact_access)
    kept = {"volume": {"keep": True}}  # Cairn itself deletes the claim where it is to go
    return Release(CHART, merged(merged(values, dict(server.values)), kept))


def path_of(server: Server) -> str:
    """Return the port and path at which a server answers, such as `:5000/mlflow`."""
    port, prefix = _value(server, "service", "port", PORT), _value(server, "server", "staticPrefix", "")
    return f":{port}{str(prefix).rstrip('/')}"


def _value(server: Server, part: str, name: str, default: object) -> object:
    """Return a value that the user may have given; Helm tells what is wrong where a part of the values is no map."""
    given = server.values.get(part)
    return given.get(name, default) if isinstance(given, Mapping) else default


def _volume(server: Server) -> JsonObject:
    volume: JsonObject = {"size": server.sqlite.size}
    if server.sqlite.storage_class_name is not None:
        volume["storageClassName"] = server.sqlite.storage_class_name
    return volume


def _bucket(server: Server, surroundings: Surroundings) -> S3 | None:
    name = server.artifact_store
    if name is None:
        return None
    store = surroundings.component(name)
    if store is None:
        message = f"There is no usable StackComponent {name} in this namespace; create it or correct artifactStoreRef."
        raise UnusableError("ArtifactStoreNotFound", message)
    if not isinstance(store, S3):
        message = f"StackComponent {name} is {store.type}.{store.flavor}, and MLflow needs a bucket: name one of artifactStore.s3."
        raise UnusableError(STORE_NOT_SUITABLE, message)
    return store


def _artifacts(store: S3, key: str, access: str) -> JsonObject:
    config = store.config
    s3: JsonObject = {"region": config.region, "addressingStyle": "path" if store.path_style else "virtual"}
    if config.endpoint is not None:
        s3["endpoint"] = config.endpoint
    if config.credentials_secret_ref is not None:
        s3["credentialsSecret"] = config.credentials_secret_ref.name
    values: JsonObject = {"artifacts": {"destination": store.uri(key), "access": access, "s3": s3}}
    if config.ca_secret_ref is not None:
        values["caBundle"] = {"secret": config.ca_secret_ref.name, "key": config.ca_secret_ref.key}
    if config.service_account_name is not None:
        values["serviceAccount"] = {"create": False, "name": config.service_account_name}
    return values


def _secrets(server: Server, auth_secret: str | None, store: S3 | None) -> frozenset[str]:
    return frozenset(filter(None, (server.database_secret, auth_secret))) | (
        store.secrets if store is not None else frozenset()
    )


def _digest(secrets: Iterable[str], surroundings: Surroundings) -> str:
    """Return a digest of the Secrets' versions; raises UnusableError."""
    versions = {name: surroundings.version_of_secret(name) for name in sorted(secrets)}
    missing = next((name for name, version in versions.items() if not version), None)
    if missing is not None:
        message = (
            f"There is no Secret {missing}; create it or correct its name. Until then, the server is left as it is."
        )
        raise UnusableError("SecretNotFound", message)
    text = ",".join(f"{name}={version}" for name, version in versions.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
