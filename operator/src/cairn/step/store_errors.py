"""What an object store's error means: obstore reports most of it as text, which is read only here."""

from __future__ import annotations

import html
import re
from typing import Final

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from cairn.step.errors import (
    BUCKET_NOT_FOUND,
    DISK_FULL,
    OUTPUT_INVALID,
    STORE_DENIED,
    STORE_FAILED,
    STORE_UNREACHABLE,
    ObjectMissingError,
    StepError,
)

_CODE: Final = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]*)</Message>")
_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})[^:]*: ?(.*)")

_MISSING_CODES: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound"})
_DENIED_CODES: Final = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",
    }
)
_FULL_CODES: Final = frozenset({"EntityStorageLimitExceeded", "QuotaExceeded", "XMinioStorageFull"})

_BROKEN_CONNECTIONS: Final = (
    (r"dns error|failed to lookup address", "its name cannot be resolved", "check the endpoint's host name"),
    (
        r"UnknownIssuer|BadSignature|CaUsedAsEndEntity|certificate is not trusted|self.signed",
        "its TLS certificate is not signed by a CA that is trusted here",
        "name the Secret or ConfigMap with its CA in the artifact store",
    ),
    (
        r"NotValidForName|certificate not valid for name",
        "its TLS certificate is for another name",
        "use the name that the certificate has in the endpoint",
    ),
    (r"CertExpired|Expired|NotValidYet", "its TLS certificate is out of date", "renew the certificate"),
    (r"InvalidContentType|CorruptMessage", "it does not speak TLS", "use http:// in the endpoint"),
    (r"ConnectionRefused", "connection refused", "check that it runs and the endpoint's port"),
    (
        r"kind: TimedOut|TimedOut|timed out|Timeout",
        "no answer in time",
        "check that it runs and that network policies let this namespace reach it",
    ),
    (
        r"NetworkUnreachable|HostUnreachable|No route to host",
        "there is no route to it",
        "check the endpoint and the cluster's network",
    ),
    (
        r"IncompleteMessage",
        "it closed the connection without an answer",
        "check that it runs, and whether the endpoint must begin with https://",
    ),
    (
        r"ConnectionReset|ConnectionAborted|BrokenPipe|UnexpectedEof|"
        r"kind: (Connect|Request|Interrupted)",
        "the connection broke off",
        "check that it runs and what lies between it and this cluster",
    ),
)
_NO_IDENTITY: Final = re.compile(r"//169\.254\.169\.254/|/latest/(api/token|meta-data)")


def translate(error: Exception, store: str) -> Exception:
    """Return what an error of obstore means, an ObjectMissingError or a StepError that names the `store`."""
    text = str(error)
    code = _first(_CODE, text)
    if isinstance(error, FileNotFoundError) and _says_missing(text, code):
        return ObjectMissingError(text.partition("\n")[0])
    if _NO_IDENTITY.search(text):
        return StepError(
            STORE_DENIED,
            f"{store}: no credentials were found in the pod; name a Secret with AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the artifact store, or give the step's ServiceAccount an identity.",
        )
    if code == "NoSuchBucket":
        return StepError(BUCKET_NOT_FOUND, f"{store}: the bucket does not exist; create it or set createBucket.")
    if code is not None:
        return _of_answer(error, store, code, html.unescape(_first(_MESSAGE, text) or ""))
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or "status code: 403" in text:
        return StepError(STORE_DENIED, f"{store}: access was denied; check its credentials and their permissions.")
    return _of_disk(text, store) or _of_status(text, store) or _of_connection(text, store)


def _says_missing(text: str, code: str | None) -> bool:
    if code is not None:
        return code in _MISSING_CODES
    status = _STATUS.search(text)
    return status is None or not status.group(2).strip()


def _of_answer(error: Exception, store: str, code: str, message: str) -> StepError:
    detail = f"{code}: {message.rstrip('.')}" if message else code
    if code in _DENIED_CODES or isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return StepError(STORE_DENIED, f"{store} denied access ({detail}); check its credentials and permissions.")
    if code in _FULL_CODES:
        return StepError(STORE_FAILED, f"{store} is full ({detail}); free space in it or raise its quota.")
    if code in {"SlowDown", "ServiceUnavailable", "InternalError"}:
        return StepError(STORE_UNREACHABLE, f"{store} cannot serve requests ({detail}); check its health.")
    if code in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
        return StepError(STORE_FAILED, f"{store} refused the request ({detail}); set its region.")
    return StepError(STORE_FAILED, f"{store} refused the request ({detail}); check its settings.")


def _of_disk(text: str, store: str) -> StepError | None:
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return StepError(DISK_FULL, f"{store} is full; make its volume larger or remove old artifacts.")
    if "Permission denied" in text or "Read-only file system" in text:
        return StepError(
            STORE_DENIED,
            f"{store} cannot be written to (permission denied); check fsGroup and the volume's access mode.",
        )
    if "Filenames containing trailing" in text:
        return StepError(OUTPUT_INVALID, f"{store} cannot hold a name that ends with # and digits; rename the file.")
    return None


def _of_status(text: str, store: str) -> StepError | None:
    status = _STATUS.search(text)
    if status is None:
        return None
    number = status.group(1)
    if number.startswith("5"):
        return StepError(STORE_UNREACHABLE, f"{store} cannot serve requests (HTTP {number}); check its health.")
    return StepError(
        STORE_FAILED,
        f"{store} answered HTTP {number} without an S3 error; check that the endpoint is an S3 server.",
    )


def _of_connection(text: str, store: str) -> StepError:
    for pattern, cause, advice in _BROKEN_CONNECTIONS:
        if re.search(pattern, text):
            return StepError(STORE_UNREACHABLE, f"{store} cannot be reached: {cause}; {advice}.")
    summary = text.partition("\n")[0][:200]
    return StepError(STORE_FAILED, f"{store} failed: {summary}; check the store's own log.")


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match.group(1) if match else None
