"""What an MLflow server's answer means for the owner of the tracker: a reason, and a message with the next action."""

from __future__ import annotations

from http import HTTPStatus

from cairn.clients.mlflow import INVALID_HOST, RefusedError
from cairn.clients.rest import RedirectedError, RestError, UnreachableError, UntrustedError

ACCESS_DENIED = "AccessDenied"
Explanation = tuple[str, str]
"""Reason and message."""


def explain(error: RestError, uri: str, *, logs_in: bool) -> Explanation:
    """Return what an error means, and what to do."""
    server = f"MLflow at {uri}"
    if isinstance(error, UntrustedError):
        return "TLSUntrusted", f"{server} {error}; name its authority in caSecretRef."
    if isinstance(error, UnreachableError):
        return "EndpointUnreachable", f"{server} {error}; see whether it runs, and whether the address is right."
    if isinstance(error, RedirectedError):
        return "Redirected", f"{server} redirects to {error}; correct the address, or set auth where one logs in there."
    if isinstance(error, RefusedError):
        return _refused(error, server, logs_in=logs_in)
    return "NotMLflow", f"{server} {error}."


def _refused(error: RefusedError, server: str, *, logs_in: bool) -> Explanation:
    answer = f"{error.status} {error.code or HTTPStatus(error.status).phrase}: {error}".removesuffix(": ")
    if INVALID_HOST in str(error):
        return "HostNotAllowed", f"{server} does not answer to that host name; add it to the server's --allowed-hosts."
    if error.status == HTTPStatus.UNAUTHORIZED:
        remedy = "correct name and password, or the token, in the Secret that auth names" if logs_in else "set auth"
        return "Unauthorized", f"{server} wants another log-in ({answer}); {remedy}."
    if error.status == HTTPStatus.FORBIDDEN:
        return ACCESS_DENIED, f"{server} does not let this user ({answer}); give him the permission."
    if error.status == HTTPStatus.NOT_FOUND and not error.code:
        return "NotMLflow", f"{server} has no MLflow API ({answer}); correct the address, with the path if it has one."
    if error.is_of_deleted:
        return "RecordDeleted", f"{server} has it no more ({answer}); restore it in MLflow, or name another experiment."
    if error.may_pass:
        return "ServerError", f"{server} fails ({answer}); look into its log, and whether its database runs."
    return "RequestRefused", f"{server} refuses the request ({answer}); mend what it says."
