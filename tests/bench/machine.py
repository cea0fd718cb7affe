"""What was measured on."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import cairn
from tests.bench.cluster import CHECKOUT, BenchCluster


async def describe(cluster: BenchCluster) -> dict[str, str]:
    """Return the machine and the versions, as the report says them."""
    nodes = json.loads(await cluster.kubectl("get", "nodes", "-l", "!cairn.dev/fake", "-o", "json"))["items"]
    info = nodes[0]["status"]["nodeInfo"]
    return {
        "processor": f"{os.cpu_count()} cores, {_found('^model name.*: (.+)$', Path('/proc/cpuinfo'))}",
        "memory": f"{int(_found('^MemTotal: *([0-9]+)', Path('/proc/meminfo'))) / 1024**2:.0f} GiB",
        "system": f"Linux {platform.release()}",
        "Kubernetes": f"{info['kubeletVersion']}, {info['containerRuntimeVersion']}",
        "KWOK": _found("^KWOK_VERSION=(.+)$", CHECKOUT / "tests/cluster/versions.env"),
        "Cairn": cairn.__version__,
    }


def _found(pattern: str, file: Path) -> str:
    match = re.search(pattern, file.read_text(), re.MULTILINE)
    return match[1] if match else "unknown"
