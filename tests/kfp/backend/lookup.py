"""What tasks have put out, found through sub-DAGs and loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .ir import Component, Dag, PipelineSpec
from .resolve import ResolveError
from .state import Artifact, Node, Phase, Values
from .task_spec import Task, TaskOutputArtifact, TaskOutputParameter

ITERATION = "iteration"
_LAST_KNOWN_STATES = {Phase.SUCCEEDED: "COMPLETE", Phase.FAILED: "FAILED", Phase.SKIPPED: "CANCELED"}
"""The words of ML Metadata, which are what an exit task is given."""


@dataclass(frozen=True)
class Scope:
    """A DAG that is executed: its node's name, its tasks and its inputs."""

    name: str
    dag: Dag
    inputs: Values


@dataclass(frozen=True)
class Lookup:
    """Finds outputs among the nodes of a workflow."""

    pipeline: PipelineSpec
    nodes: dict[str, Node]

    def parameter(self, scope: Scope, source: TaskOutputParameter) -> Any:
        """Return an output parameter of a task; null if there is none."""
        task = self._producer(scope.dag, source.producer_task)
        return self._task_parameter(f"{scope.name}.{source.producer_task}", task, source.output_parameter_key)

    def artifact(self, scope: Scope, source: TaskOutputArtifact) -> list[Artifact]:
        """Return an output artifact of a task: several, of a loop."""
        task = self._producer(scope.dag, source.producer_task)
        found = self._task_artifacts(f"{scope.name}.{source.producer_task}", task, source.output_artifact_key)
        if not found:
            raise ResolveError(
                f'cannot find output artifact key "{source.output_artifact_key}" in producer task "{source.producer_task}"'
            )
        return found

    def final_status(self, scope: Scope, task: str) -> str:
        """Return the state in which a task ended."""
        node = self.nodes.get(f"{scope.name}.{task}")
        return _LAST_KNOWN_STATES.get(node.phase, "RUNNING") if node else "UNKNOWN"

    @staticmethod
    def _producer(dag: Dag, name: str) -> Task:
        if name not in dag.tasks:
            raise ResolveError(f"producer task, {name}, not in tasks")
        return dag.tasks[name]

    def _turns(self, name: str) -> list[str]:
        driver = self.nodes.get(f"{name}.{ITERATION}-driver")
        count = driver.decision.iteration_count or 0 if driver and driver.decision else 0
        return [f"{name}.{ITERATION}-iterations({index}:{index}).{ITERATION}-item" for index in range(count)]

    def _task_parameter(self, name: str, task: Task, key: str) -> Any:
        component = self.pipeline.component_of(task)
        if task.parameter_iterator:
            return [self._component_parameter(turn, component, key) for turn in self._turns(name)]
        return self._component_parameter(name, component, key)

    def _component_parameter(self, name: str, component: Component, key: str) -> Any:
        if component.dag is None:
            node = self.nodes.get(name)
            return node.outputs.parameters.get(key) if node and node.outputs else None
        output = component.dag.outputs.parameters.get(key)
        for selector in output.selectors() if output else []:
            task = self._producer(component.dag, selector.producer_subtask)
            value = self._task_parameter(f"{name}.{selector.producer_subtask}", task, selector.output_parameter_key)
            if value is not None:
                return value
        return None

    def _task_artifacts(self, name: str, task: Task, key: str) -> list[Artifact]:
        component = self.pipeline.component_of(task)
        if task.parameter_iterator:
            return [one for turn in self._turns(name) for one in self._component_artifacts(turn, component, key)]
        return self._component_artifacts(name, component, key)

    def _component_artifacts(self, name: str, component: Component, key: str) -> list[Artifact]:
        if component.dag is None:
            node = self.nodes.get(name)
            return node.outputs.artifacts.get(key, []) if node and node.outputs else []
        output = component.dag.outputs.artifacts.get(key)
        for selector in output.artifact_selectors if output else []:
            task = self._producer(component.dag, selector.producer_subtask)
            found = self._task_artifacts(f"{name}.{selector.producer_subtask}", task, selector.output_artifact_key)
            if found:
                return found
        return []
