"""Small pipelines in IR, for tests: written as the SDK compiles them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Pipeline:
    """A pipeline that is put together task by task."""

    def __init__(self, name: str = "sample", /, **parameters: Json) -> None:
        self.spec: Json = {
            "pipelineInfo": {"name": name},
            "schemaVersion": "2.1.0",
            "sdkVersion": "kfp-2.17.0",
            "components": {},
            "deploymentSpec": {"executors": {}},
            "root": {"dag": {"tasks": {}}, "inputDefinitions": {"parameters": parameters}},
        }

    def container(
        self,
        name: str,
        *,
        inputs: Json | None = None,
        outputs: Json | None = None,
        container: Json | None = None,
    ) -> str:
        """Add a component that is a container."""
        self.spec["components"][f"comp-{name}"] = {
            "executorLabel": f"exec-{name}",
            "inputDefinitions": inputs or {},
            "outputDefinitions": outputs or {},
        }
        self.spec["deploymentSpec"]["executors"][f"exec-{name}"] = {"container": {"image": "i", **(container or {})}}
        return f"comp-{name}"

    def dag(self, name: str, tasks: Json, *, inputs: Json | None = None, outputs: Json | None = None) -> str:
        """Add a component that is a DAG."""
        self.spec["components"][f"comp-{name}"] = {
            "dag": {"tasks": tasks, "outputs": outputs or {}},
            "inputDefinitions": inputs or {},
        }
        return f"comp-{name}"

    def task(self, name: str, component: str, **fields: Any) -> Pipeline:
        """Add a task to the root."""
        self.spec["root"]["dag"]["tasks"][name] = task(name, component, **fields)
        return self


def task(name: str, component: str, **fields: Any) -> Json:
    """Return a task."""
    return {"taskInfo": {"name": name}, "componentRef": {"name": component}, **fields}


def parameters(**types: str) -> Json:
    """Return the definitions of parameters."""
    return {"parameters": {name: {"parameterType": kind} for name, kind in types.items()}}


def artifacts(*names: str) -> Json:
    """Return the definitions of artifacts."""
    schema = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
    return {"artifacts": {name: {"artifactType": schema} for name in names}}


def constant(value: Any) -> Json:
    """Return an input that is a constant."""
    return {"runtimeValue": {"constant": value}}


def output_of(producer: str, key: str) -> Json:
    """Return an input that is another task's output parameter."""
    return {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": key}}


def artifact_of(producer: str, key: str) -> Json:
    """Return an input that is another task's output artifact."""
    return {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": key}}


def exit_task(name: str, component: str, after: str, **fields: Any) -> Json:
    """Return a task that runs when another has ended, however that was."""
    policy = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    return task(name, component, dependentTasks=[after], triggerPolicy=policy, **fields)
