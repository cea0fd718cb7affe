"""Failures as the operator and the user see them: a reason and one sentence with the next action."""

from __future__ import annotations

import errno
import re
from typing import Final

MESSAGE_LIMIT: Final = 512

ARTIFACT_CORRUPT: Final = "ArtifactCorrupt"
BUCKET_NOT_FOUND: Final = "BucketNotFound"
DISK_FULL: Final = "DiskFull"
INPUT_INVALID: Final = "InputInvalid"
INPUT_MISSING: Final = "InputMissing"
INTERNAL_ERROR: Final = "InternalError"
OUTPUT_INVALID: Final = "OutputInvalid"
OUTPUT_MISSING: Final = "OutputMissing"
PLAN_INVALID: Final = "PlanInvalid"
STORE_DENIED: Final = "ArtifactStoreDenied"
STORE_FAILED: Final = "ArtifactStoreFailed"
STORE_UNREACHABLE: Final = "ArtifactStoreUnreachable"

_URL_SECRETS: Final = (
    (re.compile(r"(://)[^/\s@\"']+@"), r"\1"),
    (re.compile(r"(://[^\s\"'?]*)\?[^\s\"')>]*"), r"\1"),
    (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{8,}"), r"\1…"),
)


class StepError(Exception):
    """A failure that is reported: `reason` for the operator, `message` for the user."""

    def __init__(self, reason: str, message: str) -> None:
        message = redact(" ".join(message.split()))
        self.reason = reason
        self.message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        super().__init__(f"{reason}: {self.message}")


class PlanError(StepError):
    """CAIRN_PLAN is not what the operator and this version agreed on."""

    def __init__(self, message: str) -> None:
        super().__init__(PLAN_INVALID, message)


class ObjectMissingError(Exception):
    """The store has no object at the key."""


class StoppedError(Exception):
    """The work was told to stop, by SIGTERM or because another part of it failed."""


def redact(text: str) -> str:
    """Remove what may be a credential: user info and query strings of URLs, and access key ids."""
    for pattern, replacement in _URL_SECRETS:
        text = pattern.sub(replacement, text)
    return text


def of_disk(error: OSError, what: str) -> StepError:
    """Return the failure for an error of the pod's own volume while `what` was written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StepError(
            DISK_FULL,
            f"{what} does not fit on the step's volume: {error.strerror}; "
            "raise the step's ephemeral storage or make the artifact smaller.",
        )
    return StepError(
        INPUT_INVALID,
        f"{what} cannot be written to {error.filename or 'the step volume'}: {error.strerror}; "
        "check the declared path and the permissions of its volume.",
    )


def of_output(error: OSError, name: str, path: str) -> StepError:
    """Return the failure for an error while the output's file `path` was read."""
    advice = (
        "make it readable for all (chmod a+rX) at the end of the step"
        if error.errno in {errno.EACCES, errno.EPERM}
        else "let the step finish writing before it ends"
    )
    return StepError(OUTPUT_INVALID, f"Output artifact {name}: {path} cannot be read: {error.strerror}; {advice}.")
