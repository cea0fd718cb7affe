"""The pipeline IR as types: `pipeline_spec.proto` in JSON, of which only what is executed is read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .task_spec import Message, Named, RuntimeValue, Task

SCHEMA_VERSION = "2.1.0"

ParameterType = Literal[
    "PARAMETER_TYPE_ENUM_UNSPECIFIED",
    "NUMBER_DOUBLE",
    "NUMBER_INTEGER",
    "STRING",
    "BOOLEAN",
    "LIST",
    "STRUCT",
    "TASK_FINAL_STATUS",
    "TASK_CONFIG",
]


class ParameterSpec(Message):
    """An input or output parameter of a component."""

    parameter_type: ParameterType = "PARAMETER_TYPE_ENUM_UNSPECIFIED"
    default_value: Any = None
    is_optional: bool = False

    @property
    def has_default(self) -> bool:
        """Whether a default is declared, be it null."""
        return "default_value" in self.model_fields_set


class ArtifactType(Message):
    """The schema of an artifact."""

    schema_title: str = "system.Artifact"
    schema_version: str = "0.0.1"


class ArtifactSpec(Message):
    """An input or output artifact of a component."""

    artifact_type: ArtifactType = ArtifactType()
    is_artifact_list: bool = False
    is_optional: bool = False


class Definitions(Message):
    """What goes into a component, or comes out of it."""

    parameters: dict[str, ParameterSpec] = {}
    artifacts: dict[str, ArtifactSpec] = {}


class SubtaskParameter(Message):
    """An output parameter of a task inside a DAG."""

    producer_subtask: str = ""
    output_parameter_key: str = ""


class ParameterSelectors(Message):
    """Output parameters of tasks of which one runs."""

    parameter_selectors: list[SubtaskParameter] = []


class DagParameter(Message):
    """Where an output parameter of a DAG comes from."""

    value_from_parameter: SubtaskParameter | None = None
    value_from_oneof: ParameterSelectors | None = None

    def selectors(self) -> list[SubtaskParameter]:
        """Return the places to look, in order."""
        if self.value_from_oneof:
            return self.value_from_oneof.parameter_selectors
        return [self.value_from_parameter] if self.value_from_parameter else []


class ArtifactSelector(Message):
    """An output artifact of a task inside a DAG."""

    producer_subtask: str = ""
    output_artifact_key: str = ""


class DagArtifact(Message):
    """Where an output artifact of a DAG comes from: the first of these that exists."""

    artifact_selectors: list[ArtifactSelector] = []


class DagOutputs(Message):
    """The outputs of a DAG."""

    parameters: dict[str, DagParameter] = {}
    artifacts: dict[str, DagArtifact] = {}


class Dag(Message):
    """Tasks, and what of theirs comes out."""

    tasks: dict[str, Task] = {}
    outputs: DagOutputs = DagOutputs()


class Component(Message):
    """Something that a task can be: a container, an importer or a DAG."""

    input_definitions: Definitions = Definitions()
    output_definitions: Definitions = Definitions()
    executor_label: str = ""
    dag: Dag | None = None


class EnvVar(Message):
    """A variable of a container's environment."""

    name: str
    value: str = ""


class Resources(Message):
    """Requests and limits; the first four names are the newer form of the others."""

    resource_cpu_request: str = ""
    resource_cpu_limit: str = ""
    resource_memory_request: str = ""
    resource_memory_limit: str = ""
    cpu_request: float = 0
    cpu_limit: float = 0
    memory_request: float = 0
    memory_limit: float = 0
    accelerator: Accelerator | None = None


class Accelerator(Message):
    """Devices, by the name of their resource."""

    type: str = ""
    count: int = 0
    resource_type: str = ""
    resource_count: str = ""


class Container(Message):
    """What runs in a container executor."""

    image: str = ""
    command: list[str] = []
    args: list[str] = []
    env: list[EnvVar] = []
    resources: Resources = Resources()


class Importer(Message):
    """An artifact that exists already."""

    artifact_uri: RuntimeValue = RuntimeValue()
    type_schema: ArtifactType = ArtifactType()
    metadata: dict[str, Any] = {}


class Executor(Message):
    """What a component's executor label stands for."""

    container: Container | None = None
    importer: Importer | None = None


class DeploymentSpec(Message):
    """The executors by label."""

    executors: dict[str, Executor] = {}


class PipelineSpec(Message):
    """A whole pipeline."""

    pipeline_info: Named = Named()
    schema_version: str = ""
    default_pipeline_root: str = ""
    deployment_spec: DeploymentSpec = DeploymentSpec()
    components: dict[str, Component] = {}
    root: Component = Component()

    def component_of(self, task: Task) -> Component:
        """Return what a task is."""
        return self.components[task.component_ref.name]

    def executor_of(self, component: Component) -> Executor:
        """Return what executes a component that is no DAG."""
        return self.deployment_spec.executors[component.executor_label]


class PlatformDeployment(Message):
    """The platform's part of each executor, by label; read where the pod is made."""

    executors: dict[str, dict[str, Any]] = {}


class KubernetesPlatform(Message):
    """The part of Kubernetes."""

    deployment_spec: PlatformDeployment = PlatformDeployment()


class Platforms(Message):
    """The parts by platform, of which there is one."""

    kubernetes: KubernetesPlatform = KubernetesPlatform()


class PlatformSpec(Message):
    """What a pipeline says to Kubernetes alone."""

    platforms: Platforms = Field(default_factory=Platforms)

    def of(self, component: Component) -> dict[str, Any]:
        """Return what is said about a component's executor."""
        return self.platforms.kubernetes.deployment_spec.executors.get(component.executor_label, {})


def read(document: dict[str, Any]) -> tuple[PipelineSpec, PlatformSpec]:
    """Return the pipeline and its platform part, however they were submitted: the IR alone, or both under their names."""
    if "pipeline_spec" in document or "pipelineSpec" in document:
        pipeline = document.get("pipeline_spec") or document.get("pipelineSpec") or {}
        platform = document.get("platform_spec") or document.get("platformSpec") or {}
        return PipelineSpec.model_validate(pipeline), PlatformSpec.model_validate(platform)
    return PipelineSpec.model_validate(document), PlatformSpec()
