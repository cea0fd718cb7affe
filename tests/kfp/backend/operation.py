"""One look at a workflow: what KFP compiles for Argo, advanced as far as it goes at one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from .attempts import Attempts, attempt_of
from .cache import Cache
from .clock import Timing
from .driver import DRIVER_ERRORS, Driver
from .executor import Executor
from .graph import Graph, Step
from .ir import Component, PipelineSpec, PlatformSpec
from .lookup import ITERATION, Lookup, Scope
from .resolve import root_inputs
from .state import Attempt, Decision, Kind, Node, Phase, Run, TaskDetail, Values
from .task_spec import Task


@dataclass(frozen=True)
class Host:
    """What workflows run on."""

    executor: Executor
    timing: Timing
    pipeline_root: str
    cache: Cache


class Operation:
    """One look at one workflow."""

    def __init__(self, run: Run, pipeline: PipelineSpec, platform: PlatformSpec, host: Host, now: datetime) -> None:
        self._run = run
        self._pipeline = pipeline
        self._host = host
        self._graph = Graph(run.workflow, now)
        root = run.runtime_config.get("pipeline_root") or pipeline.default_pipeline_root or host.pipeline_root
        self._decider = Driver(run, pipeline, platform, Lookup(pipeline, run.workflow.nodes), host.cache, root)

    def operate(self) -> None:
        """Advance the workflow."""
        workflow = self._run.workflow
        workflow.phase = Phase.RUNNING
        inputs = root_inputs(self._pipeline.root, self._run.runtime_config.get("parameters", {}))
        steps = [
            Step("root-driver", lambda name: self._driver(name, "root-driver", lambda: Decision(inputs=inputs))),
            Step("root", lambda name: self._dag(name, "root", self._pipeline.root, inputs), ("root-driver",)),
        ]
        entrypoint = self._graph.dag(workflow.name, workflow.name, steps)
        if entrypoint.has_ended:
            workflow.phase = entrypoint.phase
            workflow.finished_at = entrypoint.finished_at

    def _dag(self, name: str, display_name: str, component: Component, inputs: Values) -> Node:
        assert component.dag is not None
        scope = Scope(name, component.dag, inputs)
        tasks = sorted(component.dag.tasks.items())
        exits = {upstream: one for one, task in tasks if task.is_exit_task for upstream in task.dependent_tasks}
        steps = [
            step
            for one, task in tasks
            if not task.is_exit_task
            for step in self._steps(scope, one, tuple(sorted(task.producers())), exits.get(one))
        ]
        return self._graph.dag(name, display_name, steps)

    def _steps(self, scope: Scope, name: str, depends: tuple[str, ...], exit_task: str | None = None) -> list[Step]:
        """Return the steps of a task."""
        task = scope.dag.tasks[name]
        component = self._pipeline.component_of(task)
        on_exit = self._on_exit(scope, name, exit_task) if exit_task else None
        if task.parameter_iterator:
            return [Step(name, lambda node: self._loop(scope, node, name), depends, on_exit)]
        if component.dag is None and self._pipeline.executor_of(component).importer is not None:
            return [Step(name, lambda node: self._importer(scope, node, name), depends, on_exit)]
        driver = f"{name}-driver"

        def decide() -> Decision:
            return self._decider.task(scope, name, task)

        return [
            Step(driver, lambda node: self._driver(node, driver, decide), depends),
            Step(name, lambda node: self._body(node, name, task, f"{node}-driver"), (driver,), on_exit),
        ]

    def _on_exit(self, scope: Scope, name: str, exit_task: str) -> Callable[[str], Node]:
        return lambda hook: self._graph.dag(hook, f"{name}.onExit", self._steps(scope, exit_task, ()))

    def _driver(self, name: str, display_name: str, decide: Callable[[], Decision]) -> Node:
        """Advance a driver's pod: it takes its time, then says what becomes of its task."""
        is_new = name not in self._graph.nodes
        node = self._graph.open(name, display_name, Phase.PENDING)
        takes = self._host.timing.driver
        if self._run.workflow.is_terminating:
            self._graph.close(node, Phase.FAILED)
        elif not is_new and (self._graph.now - node.started_at).total_seconds() >= takes:
            try:
                node.decision = decide()
                self._host.cache.executions += 1
                node.decision.execution_id = self._host.cache.executions
                node.phase = Phase.SUCCEEDED
            except DRIVER_ERRORS as error:
                node.message = str(error)
                node.phase = Phase.FAILED
            node.finished_at = node.started_at + timedelta(seconds=takes)
        return node

    def _importer(self, scope: Scope, name: str, display_name: str) -> Node:
        task = scope.dag.tasks[display_name]
        node = self._driver(name, display_name, lambda: self._decider.importer(scope, display_name, task))
        node.outputs = node.decision.outputs if node.decision else None
        return node

    def _body(self, name: str, display_name: str, task: Task, driver: str) -> Node:
        """Advance what a task's driver has let through."""
        decision = self._decision(driver)
        if not decision.condition:
            return self._graph.open(name, display_name, Phase.SKIPPED)
        component = self._pipeline.component_of(task)
        if component.dag is not None:
            return self._dag(name, display_name, component, decision.inputs)
        node = self._graph.open(name, display_name, Phase.RUNNING, Kind.DAG)
        if decision.cached is not None:
            executor = f"{name}.executor"
            self._graph.link(node, executor)
            self._graph.open(executor, "executor", Phase.SKIPPED)
            node.outbound = [executor]
            node.outputs = decision.cached
            self._graph.close(node, Phase.SUCCEEDED)
            return node
        pod = self._attempts(component, decision).advance(node, task.retry_policy)
        if pod.has_ended:
            node.outputs = pod.outputs
            self._graph.close(node, pod.phase)
            if decision.fingerprint and node.outputs is not None:
                self._host.cache.outputs[decision.fingerprint] = node.outputs
                self._add_cached(decision.execution_id, pod)
        return node

    def _add_cached(self, execution_id: int, pod: Node) -> None:
        """Add the task that KFP's launcher makes for the cache."""
        assert pod.finished_at is not None
        entry = TaskDetail(
            task_id=str(uuid4()),
            execution_id=execution_id,
            create_time=pod.started_at,
            start_time=pod.started_at,
            end_time=pod.finished_at,
        )
        self._run.tasks[entry.task_id] = entry

    def _decision(self, driver: str) -> Decision:
        decision = self._graph.nodes[driver].decision
        assert decision is not None
        return decision

    def _attempts(self, component: Component, decision: Decision) -> Attempts:
        container = self._pipeline.executor_of(component).container
        assert container is not None

        def make(node: str, number: int) -> Attempt:
            return attempt_of(
                node=node,
                number=number,
                workflow=self._run.workflow.name,
                run_id=self._run.run_id,
                service_account=self._run.service_account,
                component=component,
                container=container,
                decision=decision,
            )

        return Attempts(self._graph, self._host.executor, component, make)

    def _loop(self, scope: Scope, name: str, display_name: str) -> Node:
        """Advance a loop: a driver that counts, and a group of turns."""
        task = scope.dag.tasks[display_name]
        driver = f"{ITERATION}-driver"

        def decide() -> Decision:
            return self._decider.loop(scope, display_name, task)

        steps = [
            Step(driver, lambda node: self._driver(node, driver, decide)),
            Step(f"{ITERATION}-iterations", lambda node: self._turns(node, scope, display_name), (driver,)),
        ]
        return self._graph.dag(name, display_name, steps)

    def _turns(self, name: str, scope: Scope, task_name: str) -> Node:
        task = scope.dag.tasks[task_name]
        decision = self._decision(name.removesuffix("-iterations") + "-driver")
        display_name = name.rpartition(".")[2]
        if not decision.iteration_count:
            return self._graph.open(name, display_name, Phase.SKIPPED)
        node = self._graph.open(name, display_name, Phase.RUNNING, Kind.DAG)
        limit = task.iterator_policy.parallelism_limit or decision.iteration_count
        turns: list[Node] = []
        for index in range(decision.iteration_count):
            child = f"{name}({index}:{index})"
            if child not in self._graph.nodes and sum(not turn.has_ended for turn in turns) >= limit:
                break
            self._graph.link(node, child)
            decide = partial(self._decider.turn, scope, task_name, task, decision.inputs, index)
            turns.append(self._turn(child, f"{display_name}({index}:{index})", task, decide))
        if len(turns) == decision.iteration_count and all(turn.has_ended for turn in turns):
            node.outbound = [leaf.name for turn in turns for leaf in self._graph.outbound(turn)]
            has_failed = any(turn.phase is Phase.FAILED for turn in turns)
            self._graph.close(node, Phase.FAILED if has_failed else Phase.SUCCEEDED)
        return node

    def _turn(self, name: str, display_name: str, task: Task, decide: Callable[[], Decision]) -> Node:
        item, driver = f"{ITERATION}-item", f"{ITERATION}-item-driver"
        steps = [
            Step(driver, lambda node: self._driver(node, driver, decide)),
            Step(item, lambda node: self._body(node, item, task, f"{node}-driver"), (driver,)),
        ]
        return self._graph.dag(name, display_name, steps)
