"""`:retry`: what of a failed workflow is done again. What has succeeded stays."""

from __future__ import annotations

from .state import Attempt, Kind, Node, Phase, Workflow

_KEPT = {Phase.SUCCEEDED, Phase.SKIPPED}


def reset(workflow: Workflow) -> list[Attempt]:
    """Take a failed workflow back to where its failed pods begin anew; returns the attempts that are to be removed."""
    removed: list[Attempt] = []
    done_again = [node for node in workflow.nodes.values() if not _stays(workflow, node)]
    for node in done_again:
        if node.kind is Kind.DAG and ".onExit" not in node.name:
            node.phase = Phase.RUNNING
            node.finished_at = None
            node.outbound = []
            continue
        if node.attempt is not None:
            removed.append(node.attempt)
        del workflow.nodes[node.name]
    workflow.phase = Phase.RUNNING
    workflow.finished_at = None
    workflow.is_terminating = False
    return removed


def _stays(workflow: Workflow, node: Node) -> bool:
    """Whether a node is not done again: attempts go with their executor, exit tasks with the task they follow."""
    owner = node.name.rpartition("(")[0]
    if owner in workflow.nodes and workflow.nodes[owner].kind is Kind.RETRY:
        return workflow.nodes[owner].phase in _KEPT
    if ".onExit" in node.name:
        return workflow.nodes[node.name.partition(".onExit")[0]].phase in _KEPT
    return node.phase in _KEPT
