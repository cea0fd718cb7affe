"""What an S3 server's answer means for the owner of an artifact store: a reason, and a message with the next action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from cairn.clients.s3 import RefusedError, S3Error, UnreachableError, UntrustedError
from cairn.components.artifact_store.s3.probe import REFUSALS

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a key
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a key

REDIRECTS = frozenset({HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT})
MOVED = REFUSALS | REDIRECTS | {HTTPStatus.BAD_REQUEST}
"""Answers to HeadBucket that may come with the region that the bucket is in."""


@dataclass(frozen=True)
class Place:
    """What a message about the bucket names."""

    bucket: str
    below: str
    """The URI of the prefix, with a slash at its end."""
    region: str
    endpoint: str
    secret: str | None = None
    """The Secret with the access key, as `Secret namespace/name`."""
    has_ca: bool = False

    @property
    def name(self) -> str:
        """The bucket and where it is, for the beginning of a sentence."""
        return f"Bucket {self.bucket} at {self.endpoint}"


CREDENTIALS, REGION, CLOCK = "InvalidCredentials", "WrongRegion", "ClockSkewed"

WRONG_KEY = f"{{endpoint}} does not know the access key in {{secret}}; correct {ACCESS_KEY_ID} there."
WRONG_SECRET = (
    f"{{endpoint}} finds that the secret key in {{secret}} is a wrong one; correct {SECRET_ACCESS_KEY} there."
)
WRONG_TOKEN = f"{{endpoint}} does not accept the token in {{secret}}; correct {SESSION_TOKEN} there, or remove it."
EXPIRED = "{endpoint} finds the credentials in {secret} expired; renew them."
ELSEWHERE = "{bucket} is in {there}, not in region {region}; correct region."
SKEWED = "The clocks of {endpoint} and of the operator's node are too far apart ({answer}); synchronize them."

BY_CODE: Mapping[str, tuple[str, str]] = {
    "InvalidAccessKeyId": (CREDENTIALS, WRONG_KEY),
    "AuthorizationHeaderMalformed": (CREDENTIALS, WRONG_KEY),
    "SignatureDoesNotMatch": (CREDENTIALS, WRONG_SECRET),
    "InvalidToken": (CREDENTIALS, WRONG_TOKEN),
    "ExpiredToken": (CREDENTIALS, EXPIRED),
    "TokenRefreshRequired": (CREDENTIALS, EXPIRED),
    "PermanentRedirect": (REGION, ELSEWHERE),
    "IllegalLocationConstraintException": (REGION, ELSEWHERE),
    "InvalidLocationConstraint": (REGION, "{endpoint} creates no bucket in region {region}; correct region."),
    "RequestTimeTooSkewed": (CLOCK, SKEWED),
    "RequestExpired": (CLOCK, SKEWED),
    "NoSuchKey": (
        "ProbeMismatch",
        "{bucket} lost an object right after its write; look for a cache or proxy before it.",
    ),
    "BucketAlreadyExists": (
        "BucketCreateDenied",
        "{bucket} could not be created: another account has one of that name ({answer}); choose another name.",
    ),
}
"""Reason and message by the error code of the answer."""

BY_REASON: Mapping[str, str] = {
    "ServerError": "{bucket} failed in {operation} ({answer}); look into the server's log.",
    "BucketCreateDenied": "{bucket} does not exist and could not be created ({answer}); allow s3:CreateBucket to "
    "{holder}, or create it yourself.",
    "BucketNotFound": "{bucket} does not exist; create it, correct its name, or set createBucket to true.",
    "AccessDenied": "{bucket} refuses {operation} to {holder} ({answer}); allow {permission}.",
    "WriteDenied": "{bucket} refuses {operation} to {holder} ({answer}); allow {permission}.",
    "UnexpectedAnswer": "{endpoint} answered {operation} with {answer}; make sure that it is the address of an S3 API.",
}


def explain(error: S3Error, place: Place, *, seen: bool = False) -> tuple[str, str]:
    """Return the reason and the message for an error.

    Where the bucket was `seen`, a refusal to write means a key that can read only; else, one that can do nothing.
    """
    if isinstance(error, UnreachableError):
        return "EndpointUnreachable", f"{place.endpoint} {error.detail}; {error.hint}."
    if isinstance(error, UntrustedError):
        action = "have one issued that is valid for this host and time"
        if error.unknown_authority:
            end = "the Secret of caSecretRef" if place.has_ca else "a Secret and name that in caSecretRef"
            action = f"put the authority that signed it into {end}"
        return "TLSUntrusted", f"The certificate of {place.endpoint} is not trusted ({error.detail}); {action}."
    if not isinstance(error, RefusedError):
        raise TypeError(type(error))
    reason, template = _classify(error, place, seen=seen)
    message = template.format(
        bucket=place.name,
        endpoint=place.endpoint,
        region=place.region,
        there=f"region {error.region}" if error.region else "another region",
        secret=place.secret or "the request",
        holder=f"the access key in {place.secret}" if place.secret else "requests without credentials",
        operation=error.operation,
        permission=_permission(error.operation, place),
        answer=error.detail,
    )
    return reason, message


def _permission(operation: str, place: Place) -> str:
    """Return what allows an operation.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    """
    if operation in {"HeadBucket", "ListObjectsV2"}:
        return f"s3:ListBucket on s3://{place.bucket}"
    return f"s3:{operation} on {place.below}*"


def _classify(error: RefusedError, place: Place, *, seen: bool) -> tuple[str, str]:
    """Return the reason and the message's template, by the code where it says enough, else by operation and status."""
    malformed = error.code == "AuthorizationHeaderMalformed"
    if error.region not in {None, place.region} and (
        malformed or (error.operation == "HeadBucket" and error.status in MOVED)
    ):
        return REGION, ELSEWHERE
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    if error.status in REDIRECTS:
        return REGION, ELSEWHERE
    reason = _reason_by_status(error, seen=seen)
    return reason, BY_REASON[reason]


def _reason_by_status(error: RefusedError, *, seen: bool) -> str:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "ServerError"
    if error.status in REFUSALS and error.operation != "CreateBucket":
        return "WriteDenied" if seen and error.operation == "PutObject" else "AccessDenied"
    if error.code == "NoSuchBucket" or (error.status == HTTPStatus.NOT_FOUND and error.operation == "HeadBucket"):
        return "BucketNotFound"
    if error.operation == "CreateBucket" and (error.code or error.status in REFUSALS):
        return "BucketCreateDenied"
    return "UnexpectedAnswer"
