"""The digest of a tag, asked of a registry."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cairn.clients.registry import ImageReference, Registries, RegistryError, credentials_for

DIGEST = f"sha256:{'a' * 64}"
ALICE = aiohttp.encode_basic_auth("alice", "secret")
BOB = aiohttp.encode_basic_auth("bob", "other")
WINE = ImageReference("ghcr.io", "acme/wine", "1")


class FakeRegistry:
    """A registry that speaks HTTP."""

    def __init__(self) -> None:
        self.wants = ""
        """`Basic` or `Bearer`; empty where everybody may read."""
        self.anonymous_tokens = True
        self.digest: str | None = DIGEST
        self.image = "team/wine"
        self.server = TestServer(self._application())

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("HEAD", "/v2/{name:.+}/manifests/{tag}", self._manifest)
        application.router.add_get("/token", self._token)
        return application

    async def _manifest(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        allowed = {"": given, "Basic": ALICE, "Bearer": "Bearer a-token"}[self.wants]
        if given != allowed:
            scope = f'service="here",scope="repository:{self.image}:pull"'
            challenge = f'{self.wants} realm="http://{self.name}/token",{scope}'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if request.match_info["name"] != self.image:
            return web.Response(status=404)
        return web.Response(headers={"Docker-Content-Digest": self.digest} if self.digest else {})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        if not self.anonymous_tokens and request.headers.get("Authorization") != ALICE:
            return web.Response(status=401)
        assert request.query["scope"] == f"repository:{self.image}:pull"
        answer = web.StreamResponse()
        await answer.prepare(request)
        for piece in (b'{"tok', b'en": "a-to', b'ken"}'):
            await answer.write(piece)
            await asyncio.sleep(0.01)
        return answer


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    fake = FakeRegistry()
    await fake.server.start_server()
    yield fake
    await fake.server.close()


async def digest(registry: FakeRegistry, repository: str = "team/wine", credentials: tuple[str, ...] = ()) -> str:
    image = ImageReference(registry.name, repository, "1.4")
    return await Registries([registry.name]).digest_of(image, credentials)


@pytest.mark.parametrize(
    ("image", "parsed"),
    [
        ("python", ImageReference("docker.io", "library/python", "latest")),
        ("python:3.11", ImageReference("docker.io", "library/python", "3.11")),
        ("acme/wine:1", ImageReference("docker.io", "acme/wine", "1")),
        ("ghcr.io/acme/wine:1", ImageReference("ghcr.io", "acme/wine", "1")),
        ("localhost/wine", ImageReference("localhost", "wine", "latest")),
        ("host:5000/a/b/c:1", ImageReference("host:5000", "a/b/c", "1")),
        (f"ghcr.io/acme/wine:1@{DIGEST}", ImageReference("ghcr.io", "acme/wine", "1", DIGEST)),
        (f"host:5000/wine@{DIGEST}", ImageReference("host:5000", "wine", "latest", DIGEST)),
    ],
)
def test_an_image_s_name_is_taken_apart(image: str, parsed: ImageReference):
    assert ImageReference.parse(image) == parsed


def test_docker_hub_answers_elsewhere():
    assert ImageReference.parse("python").host == "registry-1.docker.io"


class TestDigest:
    async def test_of_a_registry_that_everybody_may_read(self, registry: FakeRegistry):
        assert await digest(registry) == DIGEST

    async def test_with_a_token_for_everybody(self, registry: FakeRegistry):
        registry.wants = "Bearer"

        assert await digest(registry) == DIGEST

    async def test_with_a_token_for_a_user(self, registry: FakeRegistry):
        registry.wants, registry.anonymous_tokens = "Bearer", False

        assert await digest(registry, credentials=(ALICE,)) == DIGEST

    async def test_with_a_password(self, registry: FakeRegistry):
        registry.wants = "Basic"

        assert await digest(registry, credentials=(ALICE,)) == DIGEST

    @pytest.mark.parametrize("wants", ["Basic", "Bearer"])
    async def test_with_the_password_that_it_accepts(self, registry: FakeRegistry, wants: str):
        registry.wants, registry.anonymous_tokens = wants, False

        assert await digest(registry, credentials=(BOB, ALICE)) == DIGEST

    @pytest.mark.parametrize("wants", ["Basic", "Bearer"])
    async def test_of_a_registry_that_asks_for_a_user_that_is_not_known(self, registry: FakeRegistry, wants: str):
        registry.wants, registry.anonymous_tokens = wants, False

        with pytest.raises(RegistryError, match=r"imagePullSecrets"):
            await digest(registry)

    async def test_of_an_image_that_is_not_there(self, registry: FakeRegistry):
        with pytest.raises(RegistryError, match="has no such image"):
            await digest(registry, "team/other")

    async def test_of_a_registry_that_tells_none(self, registry: FakeRegistry):
        registry.digest = "md5:1"

        with pytest.raises(RegistryError, match="answers 200 and no digest"):
            await digest(registry)

    async def test_of_a_registry_that_is_not_there(self, registry: FakeRegistry):
        await registry.server.close()

        with pytest.raises(RegistryError, match="cannot be reached"):
            await digest(registry)

    async def test_a_registry_is_asked_with_tls_unless_it_is_said_to_have_none(self, registry: FakeRegistry):
        with pytest.raises(RegistryError, match="cannot be reached"):
            await Registries().digest_of(ImageReference(registry.name, "team/wine", "1"))


class TestCredentials:
    ENCODED = base64.b64encode(b"alice:secret").decode()

    @pytest.mark.parametrize("name", ["ghcr.io", "https://ghcr.io", "https://ghcr.io/v2/", "*.io", "ghcr.io/acme"])
    def test_by_the_registry_s_name(self, name: str):
        assert credentials_for(WINE, [{"auths": {name: {"auth": self.ENCODED}}}]) == [ALICE]

    def test_with_user_and_password_apart(self):
        entry = {"username": "alice", "password": "secret"}

        assert credentials_for(WINE, [{"auths": {"ghcr.io": entry}}]) == [ALICE]

    def test_of_docker_hub(self):
        configuration = {"auths": {"https://index.docker.io/v1/": {"auth": self.ENCODED}}}

        assert credentials_for(ImageReference.parse("wine"), [configuration]) == [ALICE]

    @pytest.mark.parametrize(
        "configuration",
        [{}, {"auths": None}, {"auths": {"quay.io": {"auth": "x"}}}, {"auths": {"ghcr.io": {"auth": "%"}}}],
    )
    def test_none_where_there_are_none_to_be_read(self, configuration: dict[str, object]):
        assert credentials_for(WINE, [configuration]) == []

    @pytest.mark.parametrize("name", ["*", "io", "*.ghcr.io", "ghcr.io/other", "ghcr.io/acm", "ghcr.io:5000"])
    def test_none_of_another_registry_or_repository(self, name: str):
        assert credentials_for(WINE, [{"auths": {name: {"auth": self.ENCODED}}}]) == []

    def test_those_for_the_repository_before_those_for_the_registry(self):
        entries = {
            "ghcr.io": {"username": "bob", "password": "other"},
            "ghcr.io/acme": {"username": "alice", "password": "secret"},
        }

        assert credentials_for(WINE, [{"auths": entries}]) == [ALICE, BOB]
