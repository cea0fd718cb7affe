"""The way from this machine to a Service, or a pod, of the cluster."""

from __future__ import annotations

import re
import subprocess


class PortForward:
    """`kubectl port-forward`, begun anew when it has ended: it does not outlive its pod, or the API server."""

    def __init__(self, namespace: str, target: str, port: int, *, at: int | None = None) -> None:
        """Lead to a port of a Service or pod, from a given port of this machine or from any that is free."""
        self._command = ["kubectl", "port-forward", "--namespace", namespace, target, f"{at or ''}:{port}"]
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """Port of this machine that leads to the server."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
            assert self._process.stdout is not None
            found = re.search(r":(\d+) ->", self._process.stdout.readline())
            assert found, "kubectl port-forward did not say its port"
            self._port = int(found.group(1))
        return self._port

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
