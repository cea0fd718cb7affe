"""What is still to be done about a run that has ended: it is recorded, and its models are registered."""

from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.runs.registration import is_to_be_registered
from cairn.runs.tracking_status import is_to_be_recorded


def is_followed_up(run: JsonObject) -> bool:
    """Return whether something of that is left to do."""
    return is_to_be_recorded(run) or is_to_be_registered(run)
