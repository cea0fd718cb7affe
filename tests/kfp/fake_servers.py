"""An API server that keeps pods, and an S3 server that keeps objects: just what the backend asks of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

from aiohttp import web

Json = dict[str, Any]


class FakePods:
    """The pods of a namespace. Nothing runs: tests say what becomes of them."""

    def __init__(self) -> None:
        self.pods: dict[str, Json] = {}
        self.requests: list[str] = []
        self.refusals: list[int] = []
        """Statuses with which the next pods are refused."""
        self.log = b""
        self._watchers: list[asyncio.Queue[bytes | None]] = []
        self._changed = asyncio.Event()

    def app(self) -> web.Application:
        """Return the server."""
        path = "/api/v1/namespaces/ml/pods"
        app = web.Application()
        app.add_routes(
            [
                web.get(path, self._list),
                web.post(path, self._create),
                web.get(f"{path}/{{name}}", self._get),
                web.get(f"{path}/{{name}}/log", self._log),
                web.patch(f"{path}/{{name}}", self._patch),
                web.delete(f"{path}/{{name}}", self._delete),
            ]
        )
        app.on_shutdown.append(self._end_watches)
        return app

    async def until(self, request: str) -> None:
        """Wait for a request, such as `POST`, or `DELETE` and a name."""
        while request not in self.requests:
            self._changed.clear()
            await self._changed.wait()

    async def watched(self) -> None:
        """Wait until somebody watches."""
        while not self._watchers:
            self._changed.clear()
            await self._changed.wait()

    def set(self, name: str, phase: str, *, exit_code: int | None = None, annotations: Json | None = None) -> None:
        """Say what has become of a pod."""
        pod = self.pods[name]
        status: Json = {"phase": phase}
        pod["status"] = status
        if exit_code is not None:
            ended = {"exitCode": exit_code, "finishedAt": "2026-11-21T10:00:00Z"}
            status["containerStatuses"] = [{"name": "main", "state": {"terminated": ended}}]
        pod["metadata"].setdefault("annotations", {}).update(annotations or {})
        self._tell("MODIFIED", pod)

    def take_away(self, name: str) -> None:
        """Let a pod be gone, as with its node."""
        self._tell("DELETED", self.pods.pop(name))

    def end_watches(self) -> None:
        """Let all watches end."""
        for queue in self._watchers:
            queue.put_nowait(None)

    async def _end_watches(self, app: web.Application) -> None:
        self.end_watches()

    def _note(self, request: str) -> None:
        self.requests.append(request)
        self._changed.set()

    def _tell(self, kind: str, pod: Json) -> None:
        line = json.dumps({"type": kind, "object": pod}).encode() + b"\n"
        for queue in self._watchers:
            queue.put_nowait(line)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": list(self.pods.values()), "metadata": {"resourceVersion": "1"}})
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        response = web.StreamResponse()
        await response.prepare(request)
        self._watchers.append(queue)
        self._changed.set()
        while (line := await queue.get()) is not None:
            await response.write(line)
        self._watchers.remove(queue)
        return response

    async def _create(self, request: web.Request) -> web.Response:
        pod = await request.json()
        name = pod["metadata"]["name"]
        if self.refusals:
            self._note("POST refused")
            return web.Response(status=self.refusals.pop(0))
        if name in self.pods:
            self._note("POST conflict")
            return web.Response(status=409)
        pod["metadata"]["uid"] = str(uuid4())
        pod["status"] = {"phase": "Pending"}
        self.pods[name] = pod
        self._tell("ADDED", pod)
        self._note("POST")
        return web.json_response(pod, status=201)

    async def _get(self, request: web.Request) -> web.Response:
        pod = self.pods.get(request.match_info["name"])
        return web.json_response(pod) if pod else web.Response(status=404)

    async def _log(self, request: web.Request) -> web.Response:
        return web.Response(body=self.log)

    async def _patch(self, request: web.Request) -> web.Response:
        pod, patch = self.pods[request.match_info["name"]], await request.json()
        pod["metadata"].setdefault("annotations", {}).update(patch.get("metadata", {}).get("annotations", {}))
        pod["spec"].update(patch.get("spec", {}))
        self._tell("MODIFIED", pod)
        self._note("PATCH")
        return web.json_response(pod)

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name in self.pods:
            self.take_away(name)
        self._note("DELETE")
        return web.json_response({})


class FakeS3:
    """Objects by bucket and key."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/{bucket}", self._list),
                web.put("/{path:.+}", self._put),
                web.get("/{path:.+}", self._get),
            ]
        )
        return app

    async def _put(self, request: web.Request) -> web.Response:
        self.objects[request.match_info["path"]] = _unchunked(await request.read(), request)
        return web.Response()

    async def _get(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path not in self.objects:
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
            )
        return web.Response(body=self.objects[path])

    async def _list(self, request: web.Request) -> web.Response:
        bucket, prefix = request.match_info["bucket"], request.query.get("prefix", "")
        keys = [
            path.removeprefix(f"{bucket}/") for path in sorted(self.objects) if path.startswith(f"{bucket}/{prefix}")
        ]
        contents = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        return web.Response(text=text, content_type="application/xml")


def _unchunked(body: bytes, request: web.Request) -> bytes:
    """Return what was uploaded: botocore may send it in chunks, each after its length, with a checksum at the end."""
    if "aws-chunked" not in request.headers.get("Content-Encoding", ""):
        return body
    found = b""
    while True:
        length, _, rest = body.partition(b"\r\n")
        size = int(length.split(b";")[0], 16)
        if size == 0:
            return found
        found += rest[:size]
        body = rest[size + 2 :]
