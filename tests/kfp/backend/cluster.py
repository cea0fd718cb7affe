"""The Kubernetes API as JSON, from within a cluster or through `kubectl proxy`."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MERGE_PATCH = "application/merge-patch+json"
_WATCH_SECONDS = 300
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 30)


class ApiError(Exception):
    """The API server has refused a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def in_cluster() -> str:
    """Return the address of the API server that this pod belongs to."""
    return f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"


def own_namespace() -> str:
    """Return the namespace of this pod."""
    return (SERVICE_ACCOUNT / "namespace").read_text()


class Cluster:
    """A client of one API server."""

    def __init__(self, address: str, service_account: Path = SERVICE_ACCOUNT) -> None:
        self._token = service_account / "token"
        authority = service_account / "ca.crt"
        verify = ssl.create_default_context(cafile=str(authority)) if authority.exists() else True
        self._session = aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(ssl=verify))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _headers(self, content_type: str = "application/json") -> dict[str, str]:
        """Return the headers of a request; the token is read each time, as it rotates."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if self._token.exists():
            headers["Authorization"] = f"Bearer {self._token.read_text()}"
        return headers

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: str
    ) -> dict[str, Any]:
        """Return the object that the API server answers. Raises ApiError."""
        data = None if body is None else json.dumps(body)
        headers = self._headers(content_type)
        async with self._session.request(
            method, path, data=data, params=query, headers=headers, timeout=_TIMEOUT
        ) as response:
            if not response.ok:
                raise ApiError(response.status, await response.text())
            return await response.json()

    async def text(self, path: str, **query: str) -> bytes:
        """Return what is no object: a log. Raises ApiError."""
        async with self._session.get(path, params=query, headers=self._headers()) as response:
            if not response.ok:
                raise ApiError(response.status, await response.text())
            return await response.read()

    async def watch(self, path: str, **query: str) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """Yield the kind and object of each event, until the API server ends the watch. Raises ApiError."""
        query = {**query, "watch": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        async with self._session.get(
            path, params=query, headers=self._headers(), timeout=_WATCH_TIMEOUT, read_bufsize=2**22
        ) as response:
            if not response.ok:
                raise ApiError(response.status, await response.text())
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                yield event["type"], event["object"]
