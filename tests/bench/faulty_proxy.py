"""Passes requests on to an MLflow server and counts them, or does not answer as it should: `faulty_proxy.py HOST PORT`.

It runs in a pod of its own, on Python alone. GET /-/counts returns the counts, GET /-/mode/MODE sets what it does from then on:
`pass`, `503` or `late`.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LATE_SECONDS = 30
NOT_PASSED_ON = frozenset({"host", "connection", "transfer-encoding", "content-length"})

counts: Counter[str] = Counter()
mode = "pass"


class Proxy(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET."""
        global mode  # noqa: PLW0603 - one for all threads
        if self.path.startswith("/-/mode/"):
            mode = self.path.removeprefix("/-/mode/")
            self._answer(200, b"{}")
        elif self.path == "/-/counts":
            self._answer(200, json.dumps(counts).encode())
        else:
            self._pass_on()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._pass_on()

    def _pass_on(self) -> None:
        content = self._content()
        counts[f"{self.command} {self.path.partition('?')[0]}"] += 1
        if mode == "503":
            self._answer(503, b"no server is available")
            return
        if mode == "late":
            time.sleep(LATE_SECONDS)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_PASSED_ON}
        if self.command == "POST":
            # which `kubectl create --raw` leaves out, and MLflow insists on
            headers["Content-Type"] = "application/json"
        upstream = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=60)
        try:
            upstream.request(self.command, self.path, content, headers)
            answer = upstream.getresponse()
            self._answer(answer.status, answer.read(), answer.getheader("Content-Type"))
        except OSError as error:
            self._answer(502, str(error).encode())
        finally:
            upstream.close()

    def _content(self) -> bytes:
        """Return what was sent, by the API server's proxy in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, content: bytes, kind: str | None = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing of each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Proxy).serve_forever()
