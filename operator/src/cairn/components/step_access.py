"""What a step's own container is given so that its code can use a component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cairn.api.base import JsonObject


@dataclass(frozen=True)
class StepAccess:
    """What a step's own container needs, so that what its code records lands where it belongs."""

    env: Sequence[JsonObject] = ()
    """Kubernetes EnvVars; credentials by `secretKeyRef` only."""
    volumes: Sequence[JsonObject] = ()
    volume_mounts: Sequence[JsonObject] = field(default_factory=tuple)

    def __add__(self, other: StepAccess) -> StepAccess:
        """Return what is needed for both."""
        return StepAccess(
            [*self.env, *other.env], [*self.volumes, *other.volumes], [*self.volume_mounts, *other.volume_mounts]
        )
