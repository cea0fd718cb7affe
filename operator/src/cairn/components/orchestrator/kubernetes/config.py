"""What is written of the orchestrator `kubernetes`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.base import Model
from cairn.api.pod_template import PodTemplate
from cairn.api.workloads import Workload


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
