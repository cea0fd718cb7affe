"""What is written of the step operator `kubernetes`."""

from __future__ import annotations

from pydantic import Field

from cairn.api.base import Model
from cairn.api.pod_template import PodTemplate, ResourceRequirements


class KubernetesConfig(Model):
    """Runs the steps that ask for it in pods with these settings, such as on nodes with a GPU."""

    pod_template: PodTemplate | None = Field(
        default=None, description="Additions to the pod of a step that asks for this step operator."
    )
    resources: ResourceRequirements | None = Field(
        default=None, description="CPU, memory and devices of such a step's container, where the step gives none."
    )
