"""The nodes of a workflow, and how a DAG of them advances: Argo's part of KFP, in one pass over what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter

from .state import Kind, Node, Phase, Workflow, node_id


@dataclass(frozen=True)
class Step:
    """A task of an Argo DAG; KFP makes two of most tasks, the driver and the task itself."""

    name: str
    advance: Callable[[str], Node]
    """Makes the node of that name, or takes it as far as it goes now."""
    depends: tuple[str, ...] = ()
    """Steps that must have succeeded; if one ends otherwise, this one is left out."""
    on_exit: Callable[[str], Node] | None = None
    """Makes and advances a node once this step has run, however it ended."""


class Graph:
    """The nodes of one workflow at one moment."""

    def __init__(self, workflow: Workflow, now: datetime) -> None:
        self.workflow = workflow
        self.nodes = workflow.nodes
        self.now = now

    def open(self, name: str, display_name: str, phase: Phase, kind: Kind = Kind.POD) -> Node:
        """Return a node; it begins now in that phase, if it was not there."""
        if name not in self.nodes:
            self.nodes[name] = Node(
                id=node_id(self.workflow.name, name),
                name=name,
                display_name=display_name,
                kind=kind,
                phase=phase,
                started_at=self.now,
                finished_at=self.now if phase.is_final else None,
            )
        return self.nodes[name]

    def close(self, node: Node, phase: Phase) -> None:
        """End a node."""
        node.phase = phase
        node.finished_at = self.now

    def link(self, parent: Node, child: str) -> None:
        """Note that a node comes below, or after, another."""
        identifier = node_id(self.workflow.name, child)
        if identifier not in parent.children:
            parent.children.append(identifier)

    def dag(self, name: str, display_name: str, steps: Sequence[Step]) -> Node:
        """Advance a DAG: start what can start, and end it when everything has ended."""
        node = self.open(name, display_name, Phase.RUNNING, Kind.DAG)
        if node.has_ended:
            return node
        by_name = {step.name: step for step in steps}
        order = TopologicalSorter({step.name: step.depends for step in steps}).static_order()
        hooks = [hook for one in order if (hook := self._step(node, by_name[one])) is not None]
        children = [self.nodes.get(f"{name}.{step.name}") for step in steps]
        found = [child for child in children if child is not None]
        if len(found) < len(children) or not all(child.has_ended for child in [*found, *hooks]):
            return node
        inner = {upstream for step in steps for upstream in step.depends}
        leaves = [self.nodes[f"{name}.{step.name}"] for step in steps if step.name not in inner]
        node.outbound = [one.name for leaf in leaves for one in self.outbound(leaf)]
        has_failed = any(child.phase is Phase.FAILED for child in found)
        self.close(node, Phase.FAILED if has_failed else Phase.SUCCEEDED)
        return node

    def outbound(self, node: Node) -> list[Node]:
        """Return the nodes after which a dependent of this one comes."""
        return [self.nodes[name] for name in node.outbound] or [node]

    def _step(self, dag: Node, step: Step) -> Node | None:
        """Advance a step, and return the node of its exit task if there is one by now."""
        name = f"{dag.name}.{step.name}"
        if name not in self.nodes:
            upstream = [self.nodes.get(f"{dag.name}.{one}") for one in step.depends]
            ended = [one for one in upstream if one is not None and one.has_ended]
            if len(ended) < len(upstream):
                return None
            if all(one.phase is Phase.SUCCEEDED for one in ended):
                step.advance(name)
            else:
                self.open(name, step.name, Phase.OMITTED)
            for parent in [leaf for one in ended for leaf in self.outbound(one)] or [dag]:
                self.link(parent, name)
        elif not self.nodes[name].has_ended:
            step.advance(name)
        return self._exit(step, self.nodes[name])

    def _exit(self, step: Step, node: Node) -> Node | None:
        hook = f"{node.name}.onExit"
        has_run = node.has_ended and node.phase in {Phase.SUCCEEDED, Phase.FAILED}
        if step.on_exit is None or not has_run or (self.workflow.is_terminating and hook not in self.nodes):
            return None
        self.link(node, hook)
        existing = self.nodes.get(hook)
        return existing if existing is not None and existing.has_ended else step.on_exit(hook)
