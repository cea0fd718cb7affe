"""Names and labels that follow from a component alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cairn.api.base import GROUP
from cairn.api.labels import COMPONENT_LABEL, HASH_LENGTH, shortened

LENGTH = 40
"""Most characters of a release's name: what a chart adds to it for its objects has room in a label's value."""
STATE_LABEL = f"{GROUP}/desired-state"
"""What a revision was made of, and its number, since Helm hands labels on to the next revision, whoever makes it."""


def release_name(component: str) -> str:
    """Return the name of a component's release, and of the Service in it; no two components of a namespace share one."""
    name = f"{component}-server"
    if "." not in name:
        return shortened(name, LENGTH)
    digest = hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]
    return f"{name.replace('.', '-')[: LENGTH - HASH_LENGTH - 1].rstrip('-')}-{digest}"


def labels_of(component: str) -> dict[str, str]:
    """Return the label that every object of a component's release has, and each revision of it."""
    return {COMPONENT_LABEL: shortened(component)}


def state_label(state: str, revision: int) -> str:
    """Return the value of STATE_LABEL for a revision that is made of a state."""
    return f"{state}.{revision}"


def state_in(labels: Mapping[str, str], revision: int) -> str | None:
    """Return what a revision was made of by Cairn; None where somebody else made it, or it is one gone back to."""
    state, _, number = labels.get(STATE_LABEL, "").rpartition(".")
    return state if number == str(revision) else None
