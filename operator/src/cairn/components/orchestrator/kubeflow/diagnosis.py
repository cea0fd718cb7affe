"""What an answer of Kubeflow Pipelines means for the owner of the orchestrator: a reason, and a message with the next action."""

from __future__ import annotations

from http import HTTPStatus

from cairn.clients.kfp import RefusedError
from cairn.clients.rest import RedirectedError, RestError, UnreachableError, UntrustedError

Explanation = tuple[str, str]
"""Reason and message."""


def explain(error: RestError, endpoint: str, *, logs_in: bool) -> Explanation:
    """Return what an error means, and what to do."""
    server = f"Kubeflow Pipelines at {endpoint}"
    if isinstance(error, UntrustedError):
        return "TLSUntrusted", f"{server} {error}; name its authority in caSecretRef."
    if isinstance(error, UnreachableError):
        return "EndpointUnreachable", f"{server} {error}; see whether it runs, and whether the address is right."
    if isinstance(error, RedirectedError):
        return "Redirected", f"{server} redirects to {error}; name the API itself, or set auth where one logs in there."
    if isinstance(error, RefusedError):
        return _refused(error, server, logs_in=logs_in)
    return "NotKubeflowPipelines", f"{server} {error}."


def _refused(error: RefusedError, server: str, *, logs_in: bool) -> Explanation:
    answer = f"{error.status} {error}".strip()
    if error.status == HTTPStatus.UNAUTHORIZED:
        remedy = "correct the token, or its audience" if logs_in else "set auth"
        return "Unauthorized", f"{server} wants another log-in ({answer}); {remedy}."
    if error.status == HTTPStatus.FORBIDDEN:
        return (
            "AccessDenied",
            f"{server} does not let this user ({answer}); give him a role in the namespace, or correct user.",
        )
    if error.status == HTTPStatus.NOT_FOUND and error.code is None:
        return (
            "NotKubeflowPipelines",
            f"{server} has no API v2beta1 ({answer}); correct the address, with the path if it has one.",
        )
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return "TooManyRequests", f"{server} asks for fewer requests ({answer}); it is tried again."
    if error.may_pass:
        return (
            "ServerError",
            f"{server} fails ({answer}); look into the log of ml-pipeline, and whether its database runs.",
        )
    remedy = "mend what it says" if str(error) else "look into the log of ml-pipeline, or of a proxy before it"
    return "RequestRefused", f"{server} refuses the request ({answer}); {remedy}."
