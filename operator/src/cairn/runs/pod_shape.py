"""What the API server judges a pod by."""

from __future__ import annotations

import hashlib
import json

from cairn.api.base import JsonObject


def pod_shape(namespace: str, template: JsonObject) -> str:
    """Return a digest of what the API server judges a pod by: all but its names, commands and values."""
    spec = template["spec"]

    def without_texts(container: JsonObject) -> JsonObject:
        kept = {key: value for key, value in container.items() if key not in {"name", "command", "args"}}
        return {
            **kept,
            "env": [item["name"] if "value" in item else item for item in container.get("env", ())],
        }

    metadata = template["metadata"]
    own = {key: value for key, value in metadata["labels"].items() if not key.startswith("cairn.dev/")}
    shape = {
        **spec,
        "initContainers": [without_texts(container) for container in spec.get("initContainers", ())],
        "containers": [without_texts(container) for container in spec["containers"]],
        "labels": own,
        "annotations": sorted(metadata["annotations"]),
    }
    return hashlib.sha256(f"{namespace}\n{json.dumps(shape, sort_keys=True)}".encode()).hexdigest()
