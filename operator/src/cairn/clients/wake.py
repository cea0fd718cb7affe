"""How what is done beside the reconciles tells that there is something to do."""

from __future__ import annotations

from collections.abc import Callable

from cairn.clients.store import Key

Wake = Callable[[Key], None]
"""Has an object reconciled soon."""
