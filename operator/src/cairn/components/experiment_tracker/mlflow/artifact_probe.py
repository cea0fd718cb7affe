"""Whether an MLflow server keeps artifacts: /health and the database are well where its bucket is not."""

from __future__ import annotations

import secrets

from cairn.clients.mlflow import MLflow, RefusedError

_PROCESS = secrets.token_hex(4)


class ProbeError(Exception):
    """It does not; the message says why, as a part of a sentence."""


async def probe_artifacts(server: MLflow, name: str) -> None:
    """Write, read, compare and delete an artifact by way of the server.

    Raises:
        ProbeError: the server has no access to what it keeps them in, or gives back something else.
        RestError: the server does not answer.
    """
    path, content = f".cairn-check/{name}-{_PROCESS}", secrets.token_bytes(32)
    try:
        await server.put_artifact(path, content)
        found = await server.get_artifact(path)
        await server.delete_artifact(path)
    except RefusedError as error:
        told = f"{error.status} {error}".strip()
        raise ProbeError(
            f"does not keep artifacts ({told}); see whether its bucket is there and lets it in, and its log."
        ) from error
    if found != content:
        raise ProbeError("gave back another artifact than was written; look for a cache or proxy before its bucket.")
