"""The tasks of a DAG as types: the part of `pipeline_spec.proto` in JSON that says what runs when, and on what."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

EXIT_STRATEGY = "ALL_UPSTREAM_TASKS_COMPLETED"


class Message(BaseModel):
    """A message of the proto; fields that are not read here are let through."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class RuntimeValue(Message):
    """A constant, or the name of an input parameter."""

    constant: Any = None
    runtime_parameter: str | None = None


class TaskOutputParameter(Message):
    """An output parameter of another task of the DAG."""

    producer_task: str = ""
    output_parameter_key: str = ""


class TaskOutputArtifact(Message):
    """An output artifact of another task of the DAG."""

    producer_task: str = ""
    output_artifact_key: str = ""


class TaskFinalStatus(Message):
    """How the task ended that an exit task waits for."""

    producer_task: str = ""


class ParameterInput(Message):
    """Where a task's input parameter comes from."""

    component_input_parameter: str | None = None
    runtime_value: RuntimeValue | None = None
    task_output_parameter: TaskOutputParameter | None = None
    task_final_status: TaskFinalStatus | None = None
    parameter_expression_selector: str = ""


class ArtifactInput(Message):
    """Where a task's input artifact comes from."""

    component_input_artifact: str | None = None
    task_output_artifact: TaskOutputArtifact | None = None


class TaskInputs(Message):
    """The inputs of a task."""

    parameters: dict[str, ParameterInput] = {}
    artifacts: dict[str, ArtifactInput] = {}


class Named(Message):
    """A reference by name."""

    name: str = ""


class TriggerPolicy(Message):
    """When a task starts, once what it depends on has ended."""

    condition: str = ""
    strategy: str = ""


class IteratorItems(Message):
    """What a loop goes over: an input parameter, or JSON written down."""

    input_parameter: str = ""
    raw: str = ""


class ParameterIterator(Message):
    """A loop over the items of a list."""

    items: IteratorItems = IteratorItems()
    item_input: str = ""


class IteratorPolicy(Message):
    """How many turns of a loop may run at once; 0 means all."""

    parallelism_limit: int = 0


class RetryPolicy(Message):
    """How often, and how long apart, a container is tried again; durations as in `2s`."""

    max_retry_count: int = 0
    backoff_duration: str = "0s"
    backoff_factor: float = 0
    backoff_max_duration: str = ""


class CachingOptions(Message):
    """Whether outputs of an earlier execution are taken."""

    enable_cache: bool = False
    cache_key: str = ""


class Task(Message):
    """A task of a DAG."""

    task_info: Named = Named()
    component_ref: Named = Named()
    inputs: TaskInputs = TaskInputs()
    dependent_tasks: list[str] = []
    caching_options: CachingOptions = CachingOptions()
    trigger_policy: TriggerPolicy = TriggerPolicy()
    parameter_iterator: ParameterIterator | None = None
    artifact_iterator: dict[str, Any] | None = None
    iterator_policy: IteratorPolicy = IteratorPolicy()
    retry_policy: RetryPolicy = RetryPolicy()

    @property
    def is_exit_task(self) -> bool:
        """Whether the task runs when the one it depends on has ended, however that was."""
        return self.trigger_policy.strategy == EXIT_STRATEGY

    def producers(self) -> set[str]:
        """Return the tasks that this one waits for: those it names, and those it takes an input from."""
        found = set(self.dependent_tasks)
        for parameter in self.inputs.parameters.values():
            if parameter.task_output_parameter:
                found.add(parameter.task_output_parameter.producer_task)
            if parameter.task_final_status:
                found.add(parameter.task_final_status.producer_task)
        for artifact in self.inputs.artifacts.values():
            if artifact.task_output_artifact:
                found.add(artifact.task_output_artifact.producer_task)
        return found
