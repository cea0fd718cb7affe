"""How the orchestrator `kubernetes` runs steps, and its check."""

from __future__ import annotations

from cairn.api.pod_template import PodTemplate
from cairn.api.workloads import Workload
from cairn.clients.kubernetes import Kubernetes
from cairn.components.base import Orchestrator, Surroundings, Verdict
from cairn.components.orchestrator.kubernetes.config import KubernetesConfig


class KubernetesJobs(Orchestrator[KubernetesConfig]):
    """See KubernetesConfig."""

    flavor = "kubernetes"
    config_model = KubernetesConfig

    @property
    def pod_template(self) -> PodTemplate | None:
        """Additions to every step's pod."""
        return self.config.pod_template

    @property
    def max_parallel_steps(self) -> int | None:
        """How many steps of one run may run at the same time."""
        return self.config.max_parallel_steps

    @property
    def workload(self) -> Workload:
        """What an attempt is made as."""
        return self.config.workload

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - it runs in this cluster
        """Nothing outside the cluster is needed; the pods are checked by a dry run before each run."""
        return Verdict.usable(
            f"Runs each step as a {self.config.workload}, at most {self.config.max_parallel_steps} of a run at once."
        )
