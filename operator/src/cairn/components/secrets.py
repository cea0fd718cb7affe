"""Reads the Secrets that components name: what is in them, or what to do about them."""

from __future__ import annotations

import base64
import ssl

from cairn.api.base import JsonObject, SecretKeyRef
from cairn.clients.kubernetes import SECRETS, Kubernetes, NotFoundError
from cairn.components.errors import ComponentError


class UnusableError(ComponentError):
    """Something in the cluster that a component needs is missing or wrong."""


async def secret_named(kubernetes: Kubernetes, namespace: str, name: str) -> JsonObject:
    """Return a Secret; raises UnusableError."""
    try:
        return await kubernetes.get(SECRETS, namespace, name)
    except NotFoundError:
        message = f"Secret {namespace}/{name} does not exist; create it or correct its name."
        raise UnusableError("SecretNotFound", message) from None


def has_key(secret: JsonObject, key: str) -> bool:
    """Return whether a Secret has a key."""
    return key in _data(secret)


def need_key(secret: JsonObject, key: str) -> bytes:
    """Return the value of a key, which is not empty; raises UnusableError."""
    value = _value(secret, key)
    if not value:
        problem = "has no key" if value is None else "has an empty"
        raise UnusableError("SecretKeyMissing", f"{_named(secret)} {problem} {key}; add it.")
    return value


def credential(secret: JsonObject, key: str) -> str:
    """Return the value of a key that holds a credential; raises UnusableError."""
    value = need_key(secret, key)
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text or " " in text:
        message = f"{_named(secret)} has blanks, line ends or other foreign characters in {key}; store the bare value."
        raise UnusableError("InvalidCredentials", message)
    return text


def certificates(secret: JsonObject, key: str) -> str:
    """Return the PEM certificates that a key holds; raises UnusableError."""
    value = _value(secret, key)
    if value is None:
        raise UnusableError("SecretKeyMissing", f"{_named(secret)} has no key {key}; add it.")
    try:
        text = value.decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (UnicodeDecodeError, ssl.SSLError, ValueError):
        message = (
            f"{_named(secret)} has no PEM certificate in {key}; put the certificate of the authority there, as text."
        )
        raise UnusableError("CASecretInvalid", message) from None
    return text


def _named(secret: JsonObject) -> str:
    return f"Secret {secret['metadata']['namespace']}/{secret['metadata']['name']}"


def _data(secret: JsonObject) -> JsonObject:
    return secret.get("data") or {}


def _value(secret: JsonObject, key: str) -> bytes | None:
    encoded = _data(secret).get(key)
    return None if encoded is None else base64.b64decode(encoded)


def from_secret(secret: str, key: str, *, name: str | None = None, optional: bool = False) -> JsonObject:
    """Return the environment variable that has the value of a Secret's key, of the same name unless another is given."""
    ref: JsonObject = {"name": secret, "key": key}
    if optional:
        ref["optional"] = True
    return {"name": name or key, "valueFrom": {"secretKeyRef": ref}}


def mounted(ref: SecretKeyRef, volume: str, directory: str, file: str) -> tuple[JsonObject, JsonObject]:
    """Return the volume, and its mount, that put a Secret's key into a file of a directory."""
    items = [{"key": ref.key, "path": file}]
    mount = {"name": volume, "mountPath": directory, "readOnly": True}
    return {"name": volume, "secret": {"secretName": ref.name, "items": items}}, mount
