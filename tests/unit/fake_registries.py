"""Image registries in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from cairn.clients.registry import ImageReference, Registries

DIGEST = f"sha256:{'d' * 64}"


class FakeRegistries(Registries):
    """Every tag has the same digest, until the test says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = DIGEST
        self.error: Exception | None = None
        self.asked: Counter[str] = Counter()
        """How often each registry was asked."""

    async def digest_of(self, image: ImageReference, credentials: Collection[str] = ()) -> str:
        self.asked[image.registry] += 1
        if self.error is not None:
            raise self.error
        return self.digest
