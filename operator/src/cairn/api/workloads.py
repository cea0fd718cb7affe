"""What attempts of steps are made as, and what Jobs and pods, as the API server has them, say of themselves."""

from __future__ import annotations

from typing import Literal

from cairn.api.base import JsonObject

Workload = Literal["Job", "Pod"]
"""What an attempt of a step is made as."""


def pod_has_ended(pod: JsonObject) -> bool:
    """Return whether a pod has ended; how its containers did may yet be told."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
