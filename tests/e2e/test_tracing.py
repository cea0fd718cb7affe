"""A run in the cluster becomes a trace in a collector, with the operator as the chart sets it up."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cluster import Body, Cluster, condition
from faults import ready_operator
from manifests import PYTHON_IMAGE, python, run
from operator_release import install
from polling import poll

pytestmark = [pytest.mark.alone, pytest.mark.full]

PORT = 4318
TAKE = """
import base64, http.server
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(self.path, base64.b64encode(body).decode(), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 4318), Collector).serve_forever()
"""
"""A collector that writes to its log what it gets."""


@pytest.fixture
def collector(cluster: Cluster, stacks: Cluster) -> Iterator[Cluster]:
    """A namespace with Stacks and a collector, which the operator knows."""
    labels = {"app": "collector"}
    confined: Body = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "collector",
        "image": PYTHON_IMAGE,
        "args": ["python3", "-c", TAKE],
        "securityContext": confined,
    }
    stacks.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "collector", "labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }
    )
    service = {"selector": labels, "ports": [{"port": PORT}]}
    stacks.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "collector"}, "spec": service})
    stacks.wait("Pod", "collector", lambda pod: condition(pod, "Ready").get("status") == "True", 60)
    try:
        install("--set", f"tracing.endpoint=http://collector.{stacks.namespace}.svc:{PORT}")
        ready_operator(cluster)
        yield stacks
    finally:
        install()
        ready_operator(cluster)


def spans(namespace: Cluster) -> list[Span]:
    """Return what the collector has got."""
    lines = [line.split() for line in namespace.kubectl("logs", "collector").splitlines()]
    requests = [
        ExportTraceServiceRequest.FromString(base64.b64decode(body)) for path, body in lines if path == "/v1/traces"
    ]
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_a_run_is_a_trace_whose_id_is_its_uid(collector: Cluster) -> None:
    steps = [python("first", "pass"), python("second", "raise SystemExit(3)", dependsOn=["first"])]
    collector.create(run("traced", steps, on="kubernetes"))
    uid = collector.finished("traced")["metadata"]["uid"]

    def of_the_run() -> dict[str, Span]:
        return {span.name: span for span in spans(collector) if span.trace_id.hex() == uid.replace("-", "")}

    found = poll(of_the_run, lambda named: len(named) == 3, 60, "the collector did not get the trace")
    assert found.keys() == {"RUN test", "first", "second"}
    assert {found[name].parent_span_id for name in ("first", "second")} == {found["RUN test"].span_id}
    attributes = {item.key: item.value for item in found["second"].attributes}
    assert attributes["process.exit.code"].int_value == 3
    assert attributes["k8s.pod.name"].string_value.startswith("traced-second-1")
