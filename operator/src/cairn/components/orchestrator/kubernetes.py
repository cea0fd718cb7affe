"""The orchestrator `kubernetes`: one Job, or one pod without a Job, per step attempt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.base import Model
from cairn.api.pod_template import PodTemplate
from cairn.clients.kubernetes import Kubernetes
from cairn.components.base import Orchestrator, Surroundings, Verdict, Workload


class KubernetesConfig(Model):
    """Runs each step as a Job, or a pod, of its own, as soon as the steps that it needs have succeeded."""

    max_parallel_steps: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50, description="How many steps of one run may run at the same time."
    )
    workload: Workload = Field(
        default="Job",
        description="What an attempt of a step is made as. Job: a Job with one pod. Pod: the pod alone, for clusters that run "
        "many short steps: with its default settings, the Job controller ends some three Jobs a second for all together.",
    )
    pod_template: PodTemplate | None = Field(default=None, description="Additions to every step's pod.")


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
