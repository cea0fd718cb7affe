"""Sends traces to a collector by OTLP over HTTP. Imported only where there is one: OpenTelemetry takes memory.

Everything but the address is set as https://opentelemetry.io/docs/specs/otel/protocol/exporter/ says, by environment variables.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from cairn import __version__
from cairn.clients.tracing import Span, Trace

MOST_SPANS_WAITING = 8192
"""Of what comes while as many wait to be sent, the oldest are dropped: some runs of the largest size, and a few MiB."""
SEND_EVERY_SECONDS = 2.0
CLOSE_SECONDS = 1.0
"""What the end of the operator waits for the last traces: less than it has when another operator takes over."""


class TraceSender:
    """Sends traces from a thread of its own; what a collector does not take is lost, and the log says so."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            id_generator=self._ids,
            resource=Resource.create({"service.name": "cairn", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter, max_queue_size=MOST_SPANS_WAITING, schedule_delay_millis=SEND_EVERY_SECONDS * 1000
            )
        )
        self._tracer = self._provider.get_tracer("cairn", __version__)

    @classmethod
    def to_collector(cls, endpoint: str) -> TraceSender:
        """Return what sends to a collector, such as `http://collector:4318`."""
        return cls(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))

    def send(self, trace: Trace) -> None:
        """Have a trace sent some time."""
        self._ids.trace_id = trace.trace_id
        self._ids.span_id = trace.root.span_id
        root = self._tracer.start_span(
            trace.root.name,
            kind=SpanKind.SERVER,
            attributes=trace.root.attributes,
            start_time=_nanoseconds(trace.root.start),
        )
        context = set_span_in_context(root)
        for part in trace.parts:
            self._ids.span_id = part.span_id
            child = self._tracer.start_span(
                part.name, context, attributes=part.attributes, start_time=_nanoseconds(part.start)
            )
            child.set_status(_status(part))
            child.end(_nanoseconds(part.end))
        root.set_status(_status(trace.root))
        root.end(_nanoseconds(trace.root.end))

    async def close(self) -> None:
        """Send what waits, as far as that takes no time."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_SECONDS)


class _GivenIds(IdGenerator):
    """The ids of the span that is made next. Spans are made by one thread."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


def _status(span: Span) -> Status:
    return Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000
