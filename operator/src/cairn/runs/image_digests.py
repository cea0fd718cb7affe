"""The digests of images that are named by a tag, asked of their registries with the Secrets that pull them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from cairn.clients.clock import Clock
from cairn.clients.cluster import Cluster
from cairn.clients.kubernetes import CAN_BE_TRIED_AGAIN, SECRETS, NotFoundError
from cairn.clients.registry import ImageReference, Registries, RegistryError, credentials_for

DIGEST_KEPT_SECONDS = 30.0
"""How long the answer of a registry holds: a run may have a thousand steps of one image."""
PULL_SECRET = ".dockerconfigjson"  # noqa: S105 - the name of a key

Asked = tuple[str, str, tuple[str, ...]]
"""Namespace, image and pull Secrets."""


class ImageDigests:
    """What registries have answered last."""

    def __init__(self, cluster: Cluster, registries: Registries, clock: Clock) -> None:
        self._cluster = cluster
        self._registries = registries
        self._clock = clock
        self._answers: dict[Asked, tuple[float, asyncio.Future[str | RegistryError]]] = {}
        """Until when an answer holds, and the answer."""

    async def of(self, namespace: str, name: str, secrets: tuple[str, ...]) -> str:
        """Return the digest of an image; raises RegistryError, with a whole sentence but its end."""
        try:
            image = ImageReference.parse(name)
        except RegistryError as error:
            raise RegistryError(f"{name[:128]} {error}") from error
        if image.digest is not None:
            return image.digest
        asked = namespace, name, secrets
        now = self._clock.monotonic()
        if asked not in self._answers or self._answers[asked][0] < now:
            question = asyncio.ensure_future(self._ask(namespace, image, secrets))
            self._answers = {one: held for one, held in self._answers.items() if held[0] >= now}
            self._answers[asked] = now + DIGEST_KEPT_SECONDS, question
        answer = await asyncio.shield(self._answers[asked][1])
        if isinstance(answer, RegistryError):
            raise RegistryError(f"The digest of {name[:128]} is not known: {image.registry} {answer}")
        return answer

    async def _ask(self, namespace: str, image: ImageReference, secrets: Iterable[str]) -> str | RegistryError:
        try:
            credentials = credentials_for(image, await self._configurations(namespace, secrets))
            return await self._registries.digest_of(image, credentials)
        except RegistryError as error:
            return error
        except CAN_BE_TRIED_AGAIN as error:
            return RegistryError(f"cannot be asked: the Secrets to pull images could not be read ({error})")

    async def _configurations(self, namespace: str, secrets: Iterable[str]) -> list[Mapping[str, object]]:
        found: list[Mapping[str, object]] = []
        for name in secrets:
            # what is wrong with one, its pod will tell
            with suppress(NotFoundError, ValueError, AttributeError, RecursionError):
                secret = await self._cluster.kubernetes.get(SECRETS, namespace, name)
                document = json.loads(base64.b64decode((secret.get("data") or {}).get(PULL_SECRET, "")))
                found.append(dict(document))
        return found
