from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import (
    JOBS,
    METADATA_LIST_ONLY,
    METADATA_ONLY,
    PIPELINE_RUNS,
    PODS,
    SECRETS,
    STORAGE_CLASSES,
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    Kubernetes,
    NotFoundError,
    error_of,
    unlimited,
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """Answers as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = self._nothing
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        text = await request.text()
        self.bodies.append(json.loads(text) if text else None)
        return await self.answer(request)

    def answers(self, body: object, status: int = 200) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.json_response(body, status=status)

        self.answer = answer

    def streams(self, *chunks: bytes) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
            return response

        self.answer = answer

    @property
    def last(self) -> web.Request:
        return self.requests[-1]

    async def _nothing(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({})


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
async def kubernetes(server: ApiServer) -> AsyncIterator[Kubernetes]:
    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running:
        client = Kubernetes(ApiClient(Configuration(host=str(running.make_url("")).rstrip("/"))))
        yield client
        await client.close()


def status(code: int, reason: str, message: str = "no") -> JsonObject:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def line(type_: str, **metadata: str) -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode() + b"\n"


async def watched(kubernetes: Kubernetes) -> list[tuple[str, JsonObject]]:
    events = kubernetes.watch(JOBS, "ml", since="7", selector="a=b", fields="", accept=METADATA_ONLY)
    return [event async for event in events]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PODS.path("ml"), "/api/v1/namespaces/ml/pods"),
        (PODS.path(None), "/api/v1/pods"),
        (PODS.path("ml", "a", "log"), "/api/v1/namespaces/ml/pods/a/log"),
        (JOBS.path("ml", "a"), "/apis/batch/v1/namespaces/ml/jobs/a"),
        (PIPELINE_RUNS.path("ml", "a", "status"), "/apis/cairn.dev/v1alpha1/namespaces/ml/pipelineruns/a/status"),
        (STORAGE_CLASSES.path(None, "standard"), "/apis/storage.k8s.io/v1/storageclasses/standard"),
    ],
)
def test_a_path_names_group_namespace_and_object(path: str, expected: str):
    assert path == expected


async def test_get(server: ApiServer, kubernetes: Kubernetes):
    server.answers({"metadata": {"name": "a"}})

    assert await kubernetes.get(PODS, "ml", "a") == {"metadata": {"name": "a"}}
    assert (server.last.method, server.last.path) == ("GET", "/api/v1/namespaces/ml/pods/a")
    assert server.last.headers["User-Agent"] == "cairn-operator"


class TestList:
    async def test_all_pages_are_read(self, server: ApiServer, kubernetes: Kubernetes):
        async def answer(request: web.Request) -> web.StreamResponse:
            token = request.query.get("continue", "")
            following = {"": "p2", "p2": "p3", "p3": ""}[token]
            metadata = {"resourceVersion": "42", "continue": following}
            return web.json_response({"metadata": metadata, "items": [{"metadata": {"name": f"of-page-{token}"}}]})

        server.answer = answer

        items, version = await kubernetes.list(JOBS, "ml")

        assert [item["metadata"]["name"] for item in items] == ["of-page-", "of-page-p2", "of-page-p3"]
        assert version == "42"
        assert {request.query["limit"] for request in server.requests} == {"50"}

    async def test_selectors_and_the_kind_of_answer_are_asked_for(self, server: ApiServer, kubernetes: Kubernetes):
        server.answers({"metadata": {"resourceVersion": "1"}, "items": None})

        items, _ = await kubernetes.list(SECRETS, None, selector="a=b,c", fields="type!=x/y", accept=METADATA_LIST_ONLY)

        assert items == []
        assert dict(server.last.query) == {"limit": "50", "labelSelector": "a=b,c", "fieldSelector": "type!=x/y"}
        assert server.last.headers["Accept"] == METADATA_LIST_ONLY

    async def test_a_list_whose_pages_have_expired_says_so(self, server: ApiServer, kubernetes: Kubernetes):
        server.answers(status(410, "Expired"), 410)

        with pytest.raises(GoneError):
            await kubernetes.list(JOBS, "ml")


class TestWrite:
    async def test_create(self, server: ApiServer, kubernetes: Kubernetes):
        server.answers({"metadata": {"uid": "1"}}, 201)

        created = await kubernetes.create(JOBS, "ml", {"metadata": {"name": "a"}})

        assert created == {"metadata": {"uid": "1"}}
        assert (server.last.method, server.last.path_qs) == ("POST", "/apis/batch/v1/namespaces/ml/jobs")
        assert server.bodies == [{"metadata": {"name": "a"}}]

    async def test_a_dry_run_makes_nothing(self, server: ApiServer, kubernetes: Kubernetes):
        await kubernetes.create(PODS, "ml", {}, dry_run=True)

        assert server.last.query["dryRun"] == "All"

    async def test_a_status_is_patched_by_operations(self, server: ApiServer, kubernetes: Kubernetes):
        operations = [{"op": "add", "path": "/status", "value": {}}]

        await kubernetes.patch_status(PIPELINE_RUNS, "ml", "a", operations)

        assert (server.last.method, server.last.path.rsplit("/", 1)[1]) == ("PATCH", "status")
        assert server.last.content_type == "application/json-patch+json"
        assert server.bodies == [operations]

    async def test_an_object_is_patched_by_merging(self, server: ApiServer, kubernetes: Kubernetes):
        await kubernetes.merge(PIPELINE_RUNS, "ml", "a", {"metadata": {"finalizers": []}})

        assert server.last.content_type == "application/merge-patch+json"
        assert server.bodies == [{"metadata": {"finalizers": []}}]


class TestDelete:
    async def test_only_the_object_with_that_uid_goes_and_what_it_owns_in_the_background(
        self, server: ApiServer, kubernetes: Kubernetes
    ):
        await kubernetes.delete(JOBS, "ml", "a", uid="uid-of-a")

        assert (server.last.method, server.last.path) == ("DELETE", "/apis/batch/v1/namespaces/ml/jobs/a")
        assert server.bodies == [{"propagationPolicy": "Background", "preconditions": {"uid": "uid-of-a"}}]

    async def test_a_pod_can_be_given_another_grace_period(self, server: ApiServer, kubernetes: Kubernetes):
        await kubernetes.delete(PODS, "ml", "a", uid="uid-of-a", grace_seconds=1)

        assert server.bodies[0]["gracePeriodSeconds"] == 1

    @pytest.mark.parametrize(("code", "reason"), [(404, "NotFound"), (409, "Conflict")])
    async def test_an_object_that_is_gone_or_another_of_its_name_is_no_error(
        self, server: ApiServer, kubernetes: Kubernetes, code: int, reason: str
    ):
        server.answers(status(code, reason), code)

        await kubernetes.delete(JOBS, "ml", "a", uid="uid-of-a")

        assert len(server.requests) == 1

    async def test_a_refusal_is_an_error(self, server: ApiServer, kubernetes: Kubernetes):
        server.answers(status(403, "Forbidden"), 403)

        with pytest.raises(ForbiddenError):
            await kubernetes.delete(JOBS, "ml", "a", uid="uid-of-a")


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "reason", "expected"),
        [
            (400, "BadRequest", InvalidError),
            (401, "Unauthorized", ApiError),
            (403, "Forbidden", ForbiddenError),
            (404, "NotFound", NotFoundError),
            (409, "AlreadyExists", AlreadyExistsError),
            (409, "Conflict", ConflictError),
            (410, "Expired", GoneError),
            (422, "Invalid", InvalidError),
            (429, "TooManyRequests", ApiError),
            (500, "InternalError", ApiError),
            (503, "ServiceUnavailable", ApiError),
        ],
    )
    async def test_each_answer_has_its_error(
        self, server: ApiServer, kubernetes: Kubernetes, code: int, reason: str, expected: type[ApiError]
    ):
        server.answers(status(code, reason, "because"), code)

        with pytest.raises(ApiError) as error:
            await kubernetes.get(JOBS, "ml", "a")

        assert type(error.value) is expected
        assert (error.value.status, error.value.reason, error.value.message) == (code, reason, "because")

    async def test_an_answer_of_a_proxy_is_told_as_it_is(self, server: ApiServer, kubernetes: Kubernetes):
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(text="<html>bad gateway</html>", status=502)

        server.answer = answer

        with pytest.raises(ApiError, match="bad gateway"):
            await kubernetes.get(JOBS, "ml", "a")

    @pytest.mark.parametrize("body", [[], "x", None, 3])
    async def test_an_answer_that_is_no_status_is_an_error_all_the_same(
        self, server: ApiServer, kubernetes: Kubernetes, body: object
    ):
        server.answers(body, 500)

        with pytest.raises(ApiError) as error:
            await kubernetes.get(JOBS, "ml", "a")

        assert error.value.status == 500

    def test_an_error_without_words_says_its_code(self):
        assert str(error_of(418, {})) == "418 Unknown: the API server answered 418"


class TestWatch:
    async def test_events_come_one_by_one(self, server: ApiServer, kubernetes: Kubernetes):
        server.streams(line("ADDED", name="a") + line("MODIFIED", name="a"), line("BOOKMARK", resourceVersion="9"))

        events = await watched(kubernetes)

        assert [type_ for type_, _ in events] == ["ADDED", "MODIFIED", "BOOKMARK"]
        assert events[0][1] == {"metadata": {"name": "a"}}

    async def test_it_goes_on_from_a_version_and_asks_for_bookmarks(self, server: ApiServer, kubernetes: Kubernetes):
        server.streams()

        await watched(kubernetes)

        assert dict(server.last.query) == {
            "watch": "1",
            "resourceVersion": "7",
            "labelSelector": "a=b",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
        }
        assert server.last.headers["Accept"] == METADATA_ONLY

    async def test_a_line_may_come_in_pieces_and_be_of_any_length(self, server: ApiServer, kubernetes: Kubernetes):
        long = line("ADDED", name="ä" * 600_000)
        server.streams(
            *(long[start : start + 40_000] for start in range(0, len(long), 40_000)), line("DELETED", name="b")
        )

        events = await watched(kubernetes)

        assert [(type_, len(body["metadata"]["name"])) for type_, body in events] == [
            ("ADDED", 600_000),
            ("DELETED", 1),
        ]

    async def test_empty_lines_and_a_last_line_that_is_cut_off_are_no_events(
        self, server: ApiServer, kubernetes: Kubernetes
    ):
        server.streams(b"\n", line("ADDED", name="a"), line("ADDED", name="b")[:-10])

        assert [body["metadata"]["name"] for _, body in await watched(kubernetes)] == ["a"]

    async def test_a_version_that_is_too_old_is_told_within_the_stream(self, server: ApiServer, kubernetes: Kubernetes):
        event = {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}
        server.streams(line("ADDED", name="a"), json.dumps(event).encode() + b"\n")

        with pytest.raises(GoneError):
            await watched(kubernetes)

    async def test_a_version_that_is_too_old_is_told_as_an_answer(self, server: ApiServer, kubernetes: Kubernetes):
        server.answers(status(410, "Expired"), 410)

        with pytest.raises(GoneError):
            await watched(kubernetes)


async def test_a_log_is_read_from_its_end(server: ApiServer, kubernetes: Kubernetes):
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"caf\xc3\xa9 \xff")

    server.answer = answer

    text = await kubernetes.pod_log("ml", "a", "train", lines=40, limit=16384)

    assert text == "café �"
    assert server.last.path == "/api/v1/namespaces/ml/pods/a/log"
    assert dict(server.last.query) == {"container": "train", "tailLines": "40"}


@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
def test_a_proxy_is_looked_for_where_there_is_one(proxy: str, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)

    assert unlimited().client_session_kwargs == {"trust_env": bool(proxy)}
