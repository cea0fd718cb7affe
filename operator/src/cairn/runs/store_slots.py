"""How many requests may be on their way to each artifact store, so that one that does not answer keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from cairn.clients.store import Key


class StoreSlots:
    """So many for each store; a store is known for as long as somebody waits for it, or uses it."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._slots: WeakValueDictionary[Key, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, store: Key) -> asyncio.Semaphore:
        """Return the slots of a store: `async with` takes one."""
        slots = self._slots.get(store)
        if slots is None:
            slots = self._slots[store] = asyncio.Semaphore(self._each)
        return slots
