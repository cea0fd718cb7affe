"""The step operator `kubernetes`: a step's pod with other settings, such as a node with a GPU."""

from __future__ import annotations

from pydantic import Field

from cairn.api.base import Model
from cairn.api.pod_template import PodTemplate, ResourceRequirements
from cairn.clients.kubernetes import Kubernetes
from cairn.components.base import StepOperator, Surroundings, Verdict


class KubernetesConfig(Model):
    """Runs the steps that ask for it in pods with these settings, such as on nodes with a GPU."""

    pod_template: PodTemplate | None = Field(
        default=None, description="Additions to the pod of a step that asks for this step operator."
    )
    resources: ResourceRequirements | None = Field(
        default=None, description="CPU, memory and devices of such a step's container, where the step gives none."
    )


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
