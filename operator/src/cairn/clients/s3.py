"""S3 as far as the operator needs it: one bucket, small objects, and errors that say what went wrong.

botocore is synchronous, so its calls run in a thread (`in_thread`). No error made here carries a secret value, nor
any text of the server's but its error code and its region.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointProviderError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.util.ssl_match_hostname import CertificateError as OtherHostError

CONNECT_SECONDS = 3
CHUNK = 1024 * 1024
"""Bytes that are read at a time of an object that may be large."""
READ_SECONDS = 5
DEFAULT_REGION = "us-east-1"
UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 24, 27})
"""OpenSSL's codes (X509_V_ERR_...) for a chain that does not end in a trusted authority."""

NO_ADDRESS = "is not an address to connect to", "correct the endpoint"

Result = TypeVar("Result")

_WORD = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]{0,63}")
"""What a server's error code or region may look like; anything else is not repeated to users."""


class S3Error(Exception):
    """A request that did not succeed."""

    def __init__(self, operation: str, detail: str) -> None:
        super().__init__(f"{operation}: {detail}")
        self.operation = operation
        self.detail = detail


class UnreachableError(S3Error):
    """No answer; `detail` says why, as the rest of a sentence that begins with the endpoint, `hint` what to do."""

    def __init__(self, operation: str, detail: str, hint: str) -> None:
        super().__init__(operation, detail)
        self.hint = hint


class UntrustedError(S3Error):
    """The endpoint's certificate was not accepted; `detail` is the reason that OpenSSL gives."""

    def __init__(self, operation: str, detail: str, *, unknown_authority: bool) -> None:
        super().__init__(operation, detail)
        self.unknown_authority = unknown_authority


class RefusedError(S3Error):
    """An answer other than success, with the error code and the bucket's region where the server sent them."""

    def __init__(self, operation: str, *, status: int, code: str = "", region: str | None = None) -> None:
        super().__init__(operation, f"{status} {code}".rstrip())
        self.status = status
        self.code = code
        self.region = region


@dataclass(frozen=True)
class Credentials:
    """An access key."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Bucket:
    """One bucket, opened for a while: `with Bucket(...) as bucket`. Its methods block and raise S3Error."""

    def __init__(
        self,
        name: str,
        *,
        endpoint: str | None,
        region: str,
        path_style: bool,
        credentials: Credentials | None,
        ca: str | None = None,
    ) -> None:
        """Name the bucket; without credentials, requests are not signed."""
        self.name = name
        self.region = region
        self.endpoint = endpoint
        """The URL in use; for AWS it is known once the bucket is opened."""
        self.operation = "Connect"
        """The operation in progress, for whoever tires of waiting."""
        self.abandoned = False
        """Set by whoever tired of waiting: nothing but a deletion is begun after that."""
        self._on_aws = endpoint is None
        self._path_style = path_style
        self._credentials = credentials
        self._ca = ca
        self._client: Any = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Make the client; nothing is sent yet."""
        verify: str | None = None
        if self._ca is not None:
            bundle = self._resources.enter_context(tempfile.NamedTemporaryFile("w", suffix=".crt"))
            bundle.write(self._ca)
            bundle.flush()
            verify = bundle.name
        try:
            self._client = _create_client(self, verify, self._credentials, path_style=self._path_style)
        except (ValueError, BotoCoreError) as error:
            self._resources.close()
            raise UnreachableError(self.operation, *NO_ADDRESS) from error
        self._resources.callback(self._client.close)
        self.endpoint = str(self._client.meta.endpoint_url)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._resources.close()

    def head(self) -> None:
        """Ask for the bucket; one in another region of Amazon S3 counts as refused."""
        region = _word(self._call("HeadBucket").get("BucketRegion"))
        if self._on_aws and region not in {None, self.region}:
            raise RefusedError("HeadBucket", status=301, code="PermanentRedirect", region=region)

    def create(self) -> None:
        """Create the bucket, in the region in use."""
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        self._call("CreateBucket", **({} if self.region == DEFAULT_REGION else elsewhere))

    def put(self, key: str, content: bytes, content_type: str = "application/octet-stream") -> str | None:
        """Write an object; return its version in a bucket that keeps versions."""
        answer = self._call("PutObject", Key=key, Body=content, ContentType=content_type)
        return cast("str | None", answer.get("VersionId"))

    def get(self, key: str, limit: int) -> bytes:
        """Read the first `limit` bytes of an object."""
        answer = self._call("GetObject", Key=key)
        with _translated("GetObject"):
            return cast(bytes, answer["Body"].read(limit))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the content of an object, some of it at a time."""
        answer = self._call("GetObject", Key=key)
        with _translated("GetObject"):
            yield from answer["Body"].iter_chunks(CHUNK)

    def entity_tag(self, key: str) -> str:
        """Return the tag of an object, which any change of it changes."""
        return str(self._call("HeadObject", Key=key).get("ETag", ""))

    def entity_tags(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield the objects whose keys begin with a prefix, with their tags."""
        further: dict[str, str] = {}
        while True:
            answer = self._call("ListObjectsV2", Prefix=prefix, **further)
            for item in answer.get("Contents", ()):
                yield str(item["Key"]), str(item["ETag"])
            if not answer.get("IsTruncated"):
                return
            further = {"ContinuationToken": str(answer["NextContinuationToken"])}

    def list_keys(self, prefix: str) -> None:
        """Ask which keys begin with a prefix, one of them at most."""
        self._call("ListObjectsV2", Prefix=prefix, MaxKeys=1)

    def delete(self, key: str, version: str | None = None) -> None:
        """Delete an object, or one version of it for good."""
        self._call("DeleteObject", Key=key, **({} if version is None else {"VersionId": version}))

    def _call(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        if self.abandoned and operation != "DeleteObject":
            raise UnreachableError(operation, "was given up", "try again")
        self.operation = operation
        method = getattr(self._client, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
        with _translated(operation):
            return method(Bucket=self.name, **parameters)


async def in_thread(work: Callable[[], Result], *, seconds: float) -> Result:
    """Run blocking work in a thread of its own; raises TimeoutError, and leaves the thread to its own timeouts then.

    Not in asyncio's shared pool: the event loop resolves names there, and dead endpoints would keep everyone waiting.
    A daemon, so that none of them keeps the operator from ending.
    """
    answer: Future[Result] = Future()

    def run() -> None:
        answer.set_running_or_notify_cancel()
        try:
            answer.set_result(work())
        except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
            answer.set_exception(error)

    threading.Thread(target=run, name="s3", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(answer)


def error_of(operation: str, error: Exception) -> S3Error:
    """Return the error that an exception of botocore's stands for."""
    if isinstance(error, ClientError):
        return _refusal(operation, cast(Mapping[str, Any], error.response))
    if isinstance(error, ResponseParserError):
        return RefusedError(operation, status=HTTPStatus.OK)
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            unknown = cause.verify_code in UNKNOWN_AUTHORITY
            return UntrustedError(operation, cause.verify_message, unknown_authority=unknown)
        if isinstance(cause, OtherHostError):
            return UntrustedError(operation, "it is for another host", unknown_authority=False)
    return UnreachableError(operation, *_how(operation, causes))


def _refusal(operation: str, response: Mapping[str, Any]) -> RefusedError:
    error: Mapping[str, Any] = response.get("Error", {})
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    code = _word(error.get("Code")) or ""
    region = _word(error.get("Region")) or _word(metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region"))
    status = int(metadata.get("HTTPStatusCode") or (code if code.isdecimal() else 0))
    # where an answer has no body, as to a HEAD, botocore puts the status in the code's place
    return RefusedError(operation, status=status, code="" if code.isdecimal() else code, region=region)


def _how(operation: str, causes: list[BaseException]) -> tuple[str, str]:
    """Return how a connection failed, as the rest of a sentence, and what to do."""
    url = str(getattr(causes[0], "kwargs", {}).get("endpoint_url", ""))
    unknown = f"has a host name, {urlsplit(url).hostname}, that cannot be resolved"
    open_way = "make sure that the server runs and that no network policy keeps the operator from it"
    silent = "closes connections without an answer", "write https:// if it speaks TLS, else look into the server's log"
    no_tls = "does not speak TLS", "write http:// or correct the port"
    slow = f"does not answer {operation} within {READ_SECONDS} s", "look into the server's log"
    ways: tuple[tuple[type[BaseException], tuple[str, str]], ...] = (
        (EndpointProviderError, NO_ADDRESS),
        (ProxyConnectionError, ("cannot be reached through the operator's proxy", "except the endpoint in NO_PROXY")),
        (socket.gaierror, (unknown, "correct endpoint, addressingStyle or the cluster's DNS")),
        (ConnectionRefusedError, ("refuses connections", "start the server or correct the port")),
        (ConnectTimeoutError, (f"does not accept a connection within {CONNECT_SECONDS} s", open_way)),
        (ReadTimeoutError, slow),
        (SSLError, no_tls),
        (ssl.SSLError, no_tls),
        (ConnectionClosedError, silent),
        (ConnectionResetError, silent),
    )
    for kind, way in ways:
        if any(isinstance(cause, kind) for cause in causes):
            return way
    return f"cannot be reached ({type(causes[-1]).__name__})", open_way


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and all that it wraps; botocore and urllib3 keep them in different places."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            yield cause
            wrapped = cast(Mapping[str, object], getattr(cause, "kwargs", {}))
            waiting += [
                wrapped.get("error"),
                getattr(cause, "reason", None),
                cause.__cause__,
                cause.__context__,
            ]
            waiting += cause.args


@contextmanager
def _translated(operation: str) -> Generator[None]:
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise error_of(operation, error) from error


def _word(text: object) -> str | None:
    return text if isinstance(text, str) and _WORD.fullmatch(text) else None


_CREATING = threading.Lock()
"""botocore's session is not safe to share between threads; the clients that it creates are."""


@cache
def _session() -> botocore.session.Session:
    """Return the one session: it holds the S3 model, parsed once (0.2 s, 13 MB); a further client costs 7 ms."""
    return botocore.session.Session()


def _create_client(bucket: Bucket, verify: str | None, credentials: Credentials | None, *, path_style: bool) -> Any:
    settings = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        signature_version=UNSIGNED if credentials is None else "s3v4",
        s3={
            "addressing_style": "path" if path_style else "virtual",
            "us_east_1_regional_endpoint": "regional",
        },
    )
    keys: dict[str, Any] = {}
    if credentials is not None:
        keys = {
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.session_token,
        }
    with _CREATING:
        client: Any = _session().create_client(
            "s3",
            region_name=bucket.region,
            endpoint_url=bucket.endpoint,
            verify=verify,
            config=settings,
            **keys,
        )
    client.meta.events.register("before-call.s3", _stay_in_region)
    return client


def _stay_in_region(params: dict[str, Any], **_: object) -> None:
    """Mark the request as redirected already: botocore would follow a bucket to its region, which steps do not."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True
