"""How the orchestrator `local` runs steps, and its check."""

from __future__ import annotations

from cairn.api.pod_template import PodTemplate
from cairn.clients.kubernetes import Kubernetes
from cairn.components.base import Orchestrator, Surroundings, Verdict
from cairn.components.orchestrator.local.config import LocalConfig


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
