"""Who may ask: the bearer token that a proxy before KFP wants, and the user's header of multi-user mode."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from .errors import UNAUTHENTICATED, KfpError

USER_HEADER = "kubeflow-userid"


@dataclass
class Auth:
    """What a request must carry."""

    token: str = ""
    """The bearer token; none is asked for if it is empty."""
    is_multi_user: bool = False

    def check(self, request: web.Request) -> web.Response | None:
        """Return a proxy's refusal, if there is one. Raises KfpError for a user who is not named."""
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="Jwt verification fails", headers={"WWW-Authenticate": "Bearer"})
        if self.is_multi_user and not request.headers.get(USER_HEADER):
            raise KfpError(
                UNAUTHENTICATED, "Request header error: there is no user identity header.", "Unauthenticated error"
            )
        return None
