"""Traces as a collector gets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cairn.clients.otlp import CLOSE_SECONDS, MOST_SPANS_WAITING, TraceSender
from cairn.clients.tracing import Span, Trace
from tests.unit.builders import MOMENT

MINUTE = timedelta(minutes=1)
FAILED = Span(3, "train", MOMENT, MOMENT + MINUTE, {"process.exit.code": 3}, "It ended with exit code 3.")
TRACE = Trace(1, Span(2, "RUN wine", MOMENT, MOMENT + 2 * MINUTE, {"cicd.pipeline.name": "wine"}), [FAILED])


class Collector:
    """A server that takes traces by OTLP."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[ExportTraceServiceRequest] = asyncio.Queue()
        app = web.Application()
        app.add_routes([web.post("/v1/traces", self._take)])
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        self.requests.put_nowait(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(content_type="application/x-protobuf")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    await collector.server.start_server()
    yield collector
    await collector.server.close()


async def test_spans_have_the_ids_and_times_that_they_are_given():
    exporter = InMemorySpanExporter()
    sender = TraceSender(exporter)

    sender.send(TRACE)
    await sender.close()

    train, root = exporter.get_finished_spans()
    assert root.context is not None
    assert train.context is not None
    assert (root.context.trace_id, root.context.span_id, root.parent) == (1, 2, None)
    assert (train.context.trace_id, train.context.span_id) == (1, 3)
    assert train.parent is not None
    assert train.parent.span_id == 2
    assert (train.start_time, train.end_time) == (ns(0), ns(60))
    assert (train.status.is_ok, train.status.description) == (False, "It ended with exit code 3.")
    assert root.status.is_ok


def ns(seconds: int) -> int:
    return (int(MOMENT.timestamp()) + seconds) * 1_000_000_000


async def test_a_collector_gets_them(collector: Collector):
    sender = TraceSender.to_collector(str(collector.server.make_url("/")))

    sender.send(TRACE)
    request = await asyncio.wait_for(collector.requests.get(), 30)

    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    assert {span.name: int.from_bytes(span.span_id) for span in scope.spans} == {"RUN wine": 2, "train": 3}
    assert {int.from_bytes(span.trace_id) for span in scope.spans} == {1}
    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert attributes["service.name"] == "cairn"
    await sender.close()


async def test_the_end_of_the_operator_sends_what_waits(collector: Collector):
    sender = TraceSender.to_collector(str(collector.server.make_url("/")))
    sender.send(TRACE)

    await sender.close()

    assert (await asyncio.wait_for(collector.requests.get(), 30)).resource_spans


async def test_a_collector_that_is_not_there_holds_nothing_up():
    sender = TraceSender.to_collector("http://127.0.0.1:9")
    began = time.monotonic()

    for _ in range(MOST_SPANS_WAITING):
        sender.send(TRACE)
    sent = time.monotonic()
    await sender.close()

    assert sent - began < 60
    assert time.monotonic() - sent < CLOSE_SECONDS + 5


def test_without_a_collector_opentelemetry_is_not_loaded():
    code = "import cairn.__main__, sys; sys.exit('opentelemetry.sdk' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
