"""Errors as KFP's gateway answers them: gRPC's codes and statuses in JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

INVALID_ARGUMENT = 3
NOT_FOUND = 5
ALREADY_EXISTS = 6
INTERNAL = 13
UNAUTHENTICATED = 16

_STATUSES = {
    INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    NOT_FOUND: HTTPStatus.NOT_FOUND,
    ALREADY_EXISTS: HTTPStatus.CONFLICT,
    INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}


class KfpError(Exception):
    """A refused request."""

    def __init__(self, code: int, message: str, kind: str = "", detail: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = f"{kind}: {message}" if kind else message
        """What happened, with what was tried around it."""
        self.detail = message if detail is None else detail
        """What is told to a user: of an internal error, nothing."""

    def within(self, context: str) -> KfpError:
        """Return the error with what was tried in front of it."""
        return KfpError(self.code, f"{context}: {self.message}", detail=self.detail)

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status."""
        return _STATUSES[self.code]

    def body(self) -> dict[str, Any]:
        """Return the answer."""
        detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": self.code, "message": self.detail}
        return {"code": self.code, "message": self.message, "details": [detail]}


class ProtoError(KfpError):
    """A request that is none: it is refused before KFP sees it, so without details."""

    def __init__(self, message: str) -> None:
        super().__init__(INVALID_ARGUMENT, message)

    def body(self) -> dict[str, Any]:
        """Return the answer."""
        return {"code": self.code, "message": self.message}


def not_found(kind: str, identifier: str) -> KfpError:
    """Return the error for something that is not there."""
    return KfpError(NOT_FOUND, f"{kind} {identifier} not found", "ResourceNotFoundError")


def invalid_input(message: str) -> KfpError:
    """Return the error for a request that cannot be met."""
    return KfpError(INVALID_ARGUMENT, message, "Invalid input error")


def already_exists(message: str) -> KfpError:
    """Return the error for a name that is taken."""
    return KfpError(ALREADY_EXISTS, message, "Already exist error")


def internal(message: str) -> KfpError:
    """Return the error for what KFP calls its own fault."""
    return KfpError(INTERNAL, message, "InternalServerError", detail="Internal Server Error")
