"""The types of components."""

from __future__ import annotations

from collections.abc import Mapping

ORCHESTRATOR = "orchestrator"
ARTIFACT_STORE = "artifactStore"
EXPERIMENT_TRACKER = "experimentTracker"
MODEL_REGISTRY = "modelRegistry"
STEP_OPERATOR = "stepOperator"

TYPE_DESCRIPTIONS: Mapping[str, str] = {
    ORCHESTRATOR: "Runs the steps of a pipeline.",
    ARTIFACT_STORE: "Keeps the artifacts that steps write.",
    EXPERIMENT_TRACKER: "Records runs: their parameters, metrics, artifacts and ends.",
    MODEL_REGISTRY: "Keeps versions of models under their names.",
    STEP_OPERATOR: "Runs single steps in a way of its own, such as on nodes with a GPU.",
}
