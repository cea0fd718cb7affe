"""The executor of a container task: one pod, or one for each attempt under a retry policy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from .executor import Executor
from .graph import Graph
from .ir import Component, Container
from .outputs import log_uri
from .state import Attempt, Decision, Kind, Node, Phase, Values, node_id, pod_name
from .task_spec import RetryPolicy
from .values import ConversionError, from_text

DISPLAY_NAME = "executor"
TEMPLATE = "system-container-impl"


class Attempts:
    """Runs the container of one task."""

    def __init__(
        self, graph: Graph, executor: Executor, component: Component, make: Callable[[str, int], Attempt]
    ) -> None:
        self._graph = graph
        self._executor = executor
        self._component = component
        self._make = make
        """Of a node's name and the number of the attempt."""

    def advance(self, task: Node, policy: RetryPolicy) -> Node:
        """Advance the executor's node of a task."""
        name = f"{task.name}.{DISPLAY_NAME}"
        self._graph.link(task, name)
        node = self._retry(name, policy) if policy.max_retry_count > 0 else self._pod(name, DISPLAY_NAME, 0)
        task.outbound = [one.name for one in self._graph.outbound(node)]
        return node

    def _pod(self, name: str, display_name: str, number: int) -> Node:
        node = self._graph.nodes.get(name)
        if node is None:
            node = self._graph.open(name, display_name, Phase.PENDING)
            if self._graph.workflow.is_terminating:
                self._graph.close(node, Phase.FAILED)
                return node
            node.attempt = self._make(name, number)
            self._executor.start(node.attempt)
        elif node.attempt is not None and not node.has_ended:
            self._follow(node, node.attempt)
        return node

    def _follow(self, node: Node, attempt: Attempt) -> None:
        progress = self._executor.progress(attempt)
        if progress.phase.is_final:
            node.phase = Phase.FAILED if node.phase is Phase.FAILED else progress.phase
            node.finished_at = progress.finished_at or self._graph.now
            if node.phase is Phase.SUCCEEDED:
                self._take_outputs(node, attempt, progress.parameters)
        elif self._graph.workflow.is_terminating:
            if node.phase is not Phase.FAILED:
                self._executor.stop(attempt)
            node.phase = Phase.FAILED
            if progress.phase is Phase.PENDING:
                node.finished_at = self._graph.now
        else:
            node.phase = progress.phase

    def _take_outputs(self, node: Node, attempt: Attempt, texts: dict[str, str]) -> None:
        """Read the output parameters; one that is missing, or not of its type, fails the attempt as it fails KFP's launcher."""
        try:
            parameters = {
                name: from_text(texts[name], spec.parameter_type)
                for name, spec in self._component.output_definitions.parameters.items()
            }
        except KeyError as missing:
            node.message = f"failed to read output parameter {missing}: no such file or directory"
            node.phase = Phase.FAILED
        except ConversionError as error:
            node.message = str(error)
            node.phase = Phase.FAILED
        else:
            node.outputs = Values(parameters=parameters, artifacts=attempt.outputs.artifacts)

    def _retry(self, name: str, policy: RetryPolicy) -> Node:
        node = self._graph.open(name, DISPLAY_NAME, Phase.RUNNING, Kind.RETRY)
        if node.has_ended:
            return node
        count = len(node.children)
        if count:
            last = self._pod(f"{name}({count - 1})", f"{DISPLAY_NAME}({count - 1})", count - 1)
            if not last.has_ended:
                return node
            if last.phase is Phase.SUCCEEDED:
                node.outputs = last.outputs
            if last.phase is Phase.SUCCEEDED or self._has_given_up(name, policy, count, last):
                node.outbound = [last.name]
                self._graph.close(node, last.phase)
                return node
            if self._graph.now < _earliest(policy, count, last):
                return node
        attempt = f"{name}({count})"
        self._pod(attempt, f"{DISPLAY_NAME}({count})", count)
        self._graph.link(node, attempt)
        return node

    def _has_given_up(self, name: str, policy: RetryPolicy, count: int, last: Node) -> bool:
        if count > policy.max_retry_count or self._graph.workflow.is_terminating:
            return True
        if not policy.backoff_max_duration:
            return False
        # Argo's `maxDuration`: since the first attempt began, and all the waiting counts.
        until = self._graph.nodes[f"{name}(0)"].started_at + _duration(policy.backoff_max_duration)
        return max(self._graph.now, _earliest(policy, count, last)) > until


def _earliest(policy: RetryPolicy, count: int, last: Node) -> datetime:
    """Return when the next attempt may begin, after so many."""
    wait = _duration(policy.backoff_duration)
    if policy.backoff_factor > 0:
        wait *= policy.backoff_factor ** (count - 1)
    assert last.finished_at is not None
    return last.finished_at + wait


def _duration(text: str) -> timedelta:
    """Return a duration as protos have them in JSON, as in `2.5s`."""
    return timedelta(seconds=float(text.removesuffix("s") or 0))


def attempt_of(
    *,
    node: str,
    number: int,
    workflow: str,
    run_id: str,
    service_account: str,
    component: Component,
    container: Container,
    decision: Decision,
) -> Attempt:
    """Return an attempt at a task's container."""
    return Attempt(
        pod_name=pod_name(workflow, TEMPLATE, node),
        node_id=node_id(workflow, node),
        node_name=node,
        workflow=workflow,
        run_id=run_id,
        task=node.removeprefix(f"{workflow}.").partition(f".{DISPLAY_NAME}")[0],
        number=number,
        container=container,
        platform=decision.platform,
        inputs=_with_defaults(component, decision.inputs),
        outputs=decision.outputs,
        output_parameters=list(component.output_definitions.parameters),
        log_uri=log_uri(decision.base_uri, number),
        service_account=service_account,
    )


def _with_defaults(component: Component, inputs: Values) -> Values:
    """Return a container's inputs with the defaults of those that were not given: the launcher's part."""
    defaults = {
        name: spec.default_value
        for name, spec in component.input_definitions.parameters.items()
        if spec.has_default and name not in inputs.parameters
    }
    return Values(parameters={**defaults, **inputs.parameters}, artifacts=inputs.artifacts)
