"""Services with an API over HTTP that somebody else runs: whatever is at a URI, asking it costs no more than its limits."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import aiohttp

from cairn.api.base import JsonObject

ANSWER_SECONDS = 10.0
"""How long an answer is waited for."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes: what is at a URI may be anybody's."""
LONGEST_LOCATION = 200
"""Characters that are told of where it redirects to."""


class RestError(Exception):
    """A service did not do it; the message says why, as a part of a sentence."""


class UnreachableError(RestError):
    """It does not answer: another try may succeed."""


class NotSentError(UnreachableError):
    """There was no connection, so that it was not even asked."""


class UntrustedError(UnreachableError):
    """Its certificate is not one of an authority that is trusted."""


class RedirectedError(RestError):
    """It redirects; the message is where to. Followed, a POST would become a GET, and a log-in go elsewhere."""


@dataclass(frozen=True)
class Access:
    """How a service is reached."""

    uri: str
    """Its URL, such as `http://mlflow.ml:5000`, without a slash at the end."""
    authorization: str | None = field(default=None, repr=False)
    """The header of that name."""
    ca: str | None = field(default=None, repr=False)
    """PEM certificates that are trusted, besides the usual ones."""


@dataclass(frozen=True)
class Answer:
    """What a service has answered."""

    status: int
    content: bytes

    @property
    def is_refusal(self) -> bool:
        """Whether it has not done what it was asked for."""
        return self.status >= HTTPStatus.BAD_REQUEST

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode(errors="replace")

    @property
    def object(self) -> JsonObject | None:
        """The object that the content is in JSON; None where it is none."""
        try:
            found = json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        return cast(JsonObject, found) if isinstance(found, dict) else None


class RestService:
    """One service, with one connection pool for as long as it is used."""

    def __init__(self, access: Access, *, seconds: float = ANSWER_SECONDS) -> None:
        self._access = access
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, method: str, path: str, *, seconds: float | None = None, **content: Any) -> Answer:
        """Return what it answers, a refusal too, within so many seconds; raises RestError."""
        session = self._session = self._session or self._open()
        timeout = self._timeout if seconds is None else aiohttp.ClientTimeout(total=seconds)
        try:
            url = self._access.uri + path
            async with session.request(method, url, allow_redirects=False, timeout=timeout, **content) as answer:
                told = Answer(answer.status, await _content(answer))
        except TimeoutError as error:
            raise UnreachableError(f"has not answered within {timeout.total:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise UntrustedError(f"has a certificate that is not trusted: {error.certificate_error}") from error
        except aiohttp.ClientConnectorSSLError as error:
            raise NotSentError(f"cannot be reached with TLS ({_cause(error)}): see whether it is http://") from error
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"cannot be reached: {_cause(error)}") from error
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # of a host name that is none
            raise UnreachableError(f"cannot be reached: {error}") from error
        if HTTPStatus.MULTIPLE_CHOICES <= told.status < HTTPStatus.BAD_REQUEST:
            raise RedirectedError(repr(answer.headers.get("Location", "nowhere")[:LONGEST_LOCATION]))
        return told

    def _open(self) -> aiohttp.ClientSession:
        headers = {"Accept-Encoding": "identity"}
        if self._access.authorization:
            headers["Authorization"] = self._access.authorization
        context = ssl.create_default_context()
        if self._access.ca is not None:
            context.load_verify_locations(cadata=self._access.ca)
        connector = aiohttp.TCPConnector(ssl=context)
        return aiohttp.ClientSession(
            headers=headers, connector=connector, timeout=self._timeout, trust_env=True, auto_decompress=False
        )


def _cause(error: aiohttp.ClientConnectorError) -> str:
    """Return what the operating system says: aiohttp adds `ssl:default` to whatever it is, and the host, which may be a proxy."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return str(error)
    return error.os_error.strerror or str(error.os_error)


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > LARGEST_ANSWER:
            raise RestError(f"answers with more than {LARGEST_ANSWER} bytes: look where the URI leads to")
    return bytes(content)
