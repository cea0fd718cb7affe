"""What is written of the orchestrator `local`."""

from __future__ import annotations

from pydantic import Field

from cairn.api.base import Model, Quantity
from cairn.api.pod_template import PodTemplate


class LocalConfig(Model):
    """Runs all steps in one pod, one after another, on one shared volume. Good for laptops and small runs."""

    pod_template: PodTemplate | None = Field(default=None, description="Additions to the pod.")
    workspace_size: Quantity = Field(
        default="10Gi",
        description="Size limit of the volume that the steps of a run share; a run that exceeds it is evicted.",
    )
