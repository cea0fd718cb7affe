"""The labels that say whose an object is, and how long names become values of them."""

from __future__ import annotations

import hashlib

from cairn.api.base import GROUP

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_CAIRN = "cairn"
INSTANCE_LABEL = "app.kubernetes.io/instance"
"""The Helm release of an object."""
RUN_LABEL = f"{GROUP}/run"
COMPONENT_LABEL = f"{GROUP}/component"

LABEL_LENGTH = 63
"""Most characters of a label's value."""
HASH_LENGTH = 8


def shortened(name: str, length: int = LABEL_LENGTH) -> str:
    """Return the name, or its beginning and a hash of the whole where it is too long."""
    if len(name) <= length:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]
    return f"{name[: length - HASH_LENGTH - 1].rstrip('-.')}-{digest}"
