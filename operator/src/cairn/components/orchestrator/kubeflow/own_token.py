"""Tokens of the operator's own ServiceAccount, for whom they are asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path

from cairn.clients.kubernetes import Kubernetes
from cairn.components.secrets import UnusableError

MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""The token that every pod of a ServiceAccount has: it tells which one that is."""
LIFETIME_SECONDS = 3600
RENEWED_BEFORE_SECONDS = 600
SHORTEST_LIFE_SECONDS = 60
"""How long one is used though it is refused: where it is for somebody else, the next one is, too."""
_SUBJECT = "system:serviceaccount:"


class OwnToken:
    """Tokens for one audience, each used for most of its life."""

    def __init__(self, kubernetes: Kubernetes, audience: str, *, mounted: Path = MOUNTED) -> None:
        self._kubernetes = kubernetes
        self._audience = audience
        self._mounted = mounted
        self._token = ""
        self._renew = 0.0
        """When another one is asked for, on the monotonic clock."""
        self._made = -SHORTEST_LIFE_SECONDS
        self._making = asyncio.Lock()

    async def __call__(self, *, fresh: bool = False) -> str:
        """Return a token; raises UnusableError, ApiError."""
        async with self._making:
            now = time.monotonic()
            if now >= self._renew or (fresh and now - self._made >= SHORTEST_LIFE_SECONDS):
                namespace, name = self._service_account()
                made = await self._kubernetes.create_token(namespace, name, self._audience, LIFETIME_SECONDS)
                self._token, self._made = str(made["status"]["token"]), now
                self._renew = now + LIFETIME_SECONDS - RENEWED_BEFORE_SECONDS
            return self._token

    def _service_account(self) -> tuple[str, str]:
        """Return namespace and name of the ServiceAccount that the operator runs as."""
        try:
            _, payload, _ = self._mounted.read_text().split(".")
            claims = json.loads(base64.urlsafe_b64decode(f"{payload}=="))
            namespace, _, name = str(claims["sub"]).removeprefix(_SUBJECT).partition(":")
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = "The operator has no ServiceAccount where it runs; use auth.tokenSecretRef."
            raise UnusableError("ServiceAccountNotFound", message) from error
        return namespace, name
