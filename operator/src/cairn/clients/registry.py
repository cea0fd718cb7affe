"""The digest that an image registry has for a tag, asked without pulling anything.

The protocol is the OCI distribution specification's (https://github.com/opencontainers/distribution-spec/blob/main/spec.md), with
tokens as registries give them (https://distribution.github.io/distribution/spec/auth/token/).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus

import aiohttp

ANSWER_SECONDS = 5
DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""Under which Docker keeps the credentials of Docker Hub."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
HOST = re.compile(r"[a-zA-Z0-9.-]+(?::[0-9]{1,5})?")
LARGEST_TOKEN = 64 * 1024
MOST_REDIRECTS = 3
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RegistryError(Exception):
    """A registry did not tell the digest; the message says why, as a part of a sentence."""


class NotAllowedError(RegistryError):
    """It does not let these credentials read the image."""

    def __init__(self) -> None:
        super().__init__("does not let it be read: name a Secret in podTemplate.imagePullSecrets")


@dataclass(frozen=True)
class ImageReference:
    """An image's name taken apart (https://pkg.go.dev/github.com/distribution/reference)."""

    registry: str
    repository: str
    tag: str
    digest: str | None = None

    @classmethod
    def parse(cls, image: str) -> ImageReference:
        """Take a name apart; what is left out is Docker Hub, `library/` and `latest`. Raises RegistryError."""
        name, _, digest = image.partition("@")
        first, slash, rest = name.partition("/")
        named = slash and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, rest) if named else (DOCKER_HUB, name)
        repository, _, tag = path.partition(":")
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        parts = (
            (HOST, registry),
            (REPOSITORY, repository),
            (TAG, tag or "latest"),
            (DIGEST, digest or f"sha256:{'0' * 64}"),
        )
        if not all(pattern.fullmatch(part) for pattern, part in parts):
            raise RegistryError("is not how an image is named")
        return cls(registry, repository, tag or "latest", digest or None)

    @property
    def host(self) -> str:
        """Where the registry answers."""
        return DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry


def credentials_for(image: ImageReference, configurations: Collection[Mapping[str, object]]) -> list[str]:
    """Return what Docker configurations, as pull Secrets hold them, have for an image: `Authorization`s, the most specific first.

    As the kubelet does it (https://kubernetes.io/docs/concepts/containers/images/#config-json): each part of a host may be a
    pattern, and a path stands for the repositories below it.
    """
    found: list[tuple[str, str]] = []
    for configuration in configurations:
        entries = configuration.get("auths")
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            credentials = _basic(entry) if _is_for(str(name), image) else None
            if credentials is not None:
                found.append((str(name), credentials))
    return [credentials for _, credentials in sorted(found, key=lambda item: len(item[0]), reverse=True)]


def _is_for(name: str, image: ImageReference) -> bool:
    """Return whether a Docker configuration's entry of that name is for an image."""
    if name == DOCKER_HUB_KEY:
        return image.registry == DOCKER_HUB
    host, _, path = name.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.strip("/")
    patterns, parts = host.split("."), image.registry.split(".")
    if len(patterns) != len(parts) or not all(map(fnmatchcase, parts, patterns)):
        return False
    return path in {"", "v1", "v2"} or f"{image.repository}/".startswith(f"{path}/")


class Registries:
    """Asks registries; `insecure` names those that speak HTTP only."""

    def __init__(self, insecure: Collection[str] = ()) -> None:
        self._insecure = frozenset(insecure)

    async def digest_of(self, image: ImageReference, credentials: Collection[str] = ()) -> str:
        """Return the digest of an image's tag; raises RegistryError. Credentials are tried in turn."""
        scheme = "http" if image.registry in self._insecure else "https"
        url = f"{scheme}://{image.host}/v2/{image.repository}/manifests/{image.tag}"
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
                *others, last = credentials or (None,)
                for one in others:
                    with suppress(NotAllowedError):
                        return await _digest(session, url, one)
                return await _digest(session, url, last)
        except TimeoutError as error:
            raise RegistryError(f"does not answer within {ANSWER_SECONDS} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise RegistryError(f"cannot be reached ({type(error).__name__})") from error


async def _digest(session: aiohttp.ClientSession, url: str, credentials: str | None) -> str:
    headers = {"Accept": MANIFESTS}
    async with session.head(url, headers=headers, allow_redirects=True, max_redirects=MOST_REDIRECTS) as answer:
        status, challenge, digest = answer.status, answer.headers.get("WWW-Authenticate", ""), _told(answer)
    if status == HTTPStatus.UNAUTHORIZED:
        authorization = await _authorization(session, challenge, credentials, secure=url.startswith("https:"))
        headers["Authorization"] = authorization
        async with session.head(url, headers=headers, allow_redirects=True, max_redirects=MOST_REDIRECTS) as answer:
            status, digest = answer.status, _told(answer)
    if status == HTTPStatus.NOT_FOUND:
        raise RegistryError("has no such image")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise NotAllowedError
    if status != HTTPStatus.OK or digest is None:
        raise RegistryError(f"answers {status} and no digest")
    return digest


def _told(answer: aiohttp.ClientResponse) -> str | None:
    digest = answer.headers.get("Docker-Content-Digest", "")
    return digest if DIGEST.fullmatch(digest) else None


async def _authorization(
    session: aiohttp.ClientSession, challenge: str, credentials: str | None, *, secure: bool
) -> str:
    """Return what answers a registry's challenge; raises RegistryError."""
    method, _, rest = challenge.partition(" ")
    if method.lower() == "basic" and credentials is not None:
        return credentials
    parameters = dict(_PARAMETER.findall(rest))
    realm = parameters.pop("realm", None)
    if method.lower() != "bearer" or realm is None:
        raise NotAllowedError
    if secure and not realm.startswith("https://"):
        raise RegistryError("names a place without TLS for tokens")
    asked = {name: value for name, value in parameters.items() if name in {"service", "scope"}}
    headers = {"Accept-Encoding": "identity"}
    if credentials is not None:
        headers["Authorization"] = credentials
    async with session.get(realm, params=asked, headers=headers, allow_redirects=False) as answer:
        if answer.status != HTTPStatus.OK or "Content-Encoding" in answer.headers:
            raise NotAllowedError
        content = bytearray()
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > LARGEST_TOKEN:
                raise RegistryError("gives no token")
    try:
        given = json.loads(content)
    except RecursionError as error:
        raise RegistryError("gives no token") from error
    token = given.get("token") or given.get("access_token") if isinstance(given, dict) else None
    if not isinstance(token, str):
        raise RegistryError("gives no token")
    return f"Bearer {token}"


def _basic(entry: object) -> str | None:
    if not isinstance(entry, Mapping):
        return None
    username, password, encoded = entry.get("username"), entry.get("password"), entry.get("auth")
    if isinstance(username, str) and isinstance(password, str) and username:
        return _encoded(username, password)
    if isinstance(encoded, str):
        try:
            username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return None
        return _encoded(username, password) if colon else None
    return None


def _encoded(username: str, password: str) -> str | None:
    try:
        return aiohttp.encode_basic_auth(username, password)
    except ValueError:
        return None
