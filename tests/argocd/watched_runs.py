"""Every run that there has been in a namespace, be it gone by now."""

from __future__ import annotations

import subprocess
import threading
from typing import Self

from cluster import Cluster

WATCH = ("--watch", "--output=jsonpath={.metadata.uid} {.metadata.name}{'\\n'}")


class WatchedRuns:
    """`kubectl get --watch` of a namespace's PipelineRuns, begun anew when the API server ends it."""

    def __init__(self, namespace: Cluster) -> None:
        self._command = ["kubectl", "get", "pipelineruns.cairn.dev", "--namespace", namespace.namespace, *WATCH]
        self._names: dict[str, str] = {}
        self._process = self._begin()
        self._is_over = False
        self._beginning = threading.Lock()
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._beginning:
            self._is_over = True
            self._process.terminate()
        self._reader.join()

    def names(self, prefix: str = "") -> list[str]:
        """Return the name of each run, one that was made twice twice."""
        self.assert_watched()
        return sorted(name for name in list(self._names.values()) if name.startswith(prefix))

    def assert_watched(self) -> None:
        """Check that no run can have been missed: that the watch goes on."""
        assert self._reader.is_alive()

    def _begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)

    def _read(self) -> None:
        while not self._is_over:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                uid, name = line.split()
                self._names[uid] = name
            self._process.wait()
            with self._beginning:
                if not self._is_over:
                    self._process = self._begin()
