"""The orchestrator `local`: the steps of a run one after another in one pod."""

from __future__ import annotations

from pydantic import Field

from cairn.api.base import Model, Quantity
from cairn.api.pod_template import PodTemplate
from cairn.clients.kubernetes import Kubernetes
from cairn.components.base import Orchestrator, Surroundings, Verdict


class LocalConfig(Model):
    """Runs all steps in one pod, one after another, on one shared volume. Good for laptops and small runs."""

    pod_template: PodTemplate | None = Field(default=None, description="Additions to the pod.")
    workspace_size: Quantity = Field(
        default="10Gi",
        description="Size limit of the volume that the steps of a run share; a run that exceeds it is evicted.",
    )


class Local(Orchestrator[LocalConfig]):
    """See LocalConfig."""

    flavor = "local"
    config_model = LocalConfig

    @property
    def pod_template(self) -> PodTemplate | None:
        """Additions to the pod."""
        return self.config.pod_template

    @property
    def max_parallel_steps(self) -> int | None:
        """None: the steps share one pod, one after another."""
        return None

    @property
    def workspace_size(self) -> str | None:
        """Size limit of the volume that the steps share."""
        return self.config.workspace_size

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - nothing outside this cluster is needed
        """Nothing outside the cluster is needed; the pods are checked by a dry run before each run."""
        return Verdict.usable("Runs the steps of a run one after another in one pod.")
