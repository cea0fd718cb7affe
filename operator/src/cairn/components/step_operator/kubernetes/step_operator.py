"""How the step operator `kubernetes` runs steps, and its check."""

from __future__ import annotations

from cairn.api.pod_template import PodTemplate
from cairn.clients.kubernetes import Kubernetes
from cairn.components.base import StepOperator, Surroundings, Verdict
from cairn.components.step_operator.kubernetes.config import KubernetesConfig


class KubernetesPods(StepOperator[KubernetesConfig]):
    """See KubernetesConfig."""

    flavor = "kubernetes"
    config_model = KubernetesConfig

    @property
    def pod_template(self) -> PodTemplate | None:
        """Additions to the pod, the resources among them."""
        template = self.config.pod_template or PodTemplate()
        if self.config.resources is None:
            return template
        return template.model_copy(update={"resources": self.config.resources})

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:  # noqa: ARG002 - it runs in this cluster
        """Nothing outside the cluster is needed; the pods are checked by a dry run before each run."""
        return Verdict.usable("Runs the steps that ask for it in pods with its settings.")
