"""The model registry `mlflow`: its check."""

from __future__ import annotations

from cairn.clients.kubernetes import Kubernetes
from cairn.clients.mlflow import MLflow
from cairn.clients.rest import RestError
from cairn.components.base import ModelRegistry, Surroundings, Verdict
from cairn.components.experiment_tracker.mlflow.diagnosis import explain
from cairn.components.experiment_tracker.mlflow.tracker import MLflowTracker
from cairn.components.model_registry.mlflow.config import MLflowRegistryConfig
from cairn.components.secrets import UnusableError


class MLflowRegistry(ModelRegistry[MLflowRegistryConfig]):
    """See MLflowRegistryConfig."""

    flavor = "mlflow"
    config_model = MLflowRegistryConfig

    @property
    def tracker(self) -> str:
        """Name of the experiment tracker."""
        return self.config.tracker_ref.name

    @property
    def components(self) -> frozenset[str]:
        """The experiment tracker alone."""
        return frozenset({self.tracker})

    async def check(self, kubernetes: Kubernetes, surroundings: Surroundings) -> Verdict:
        """Ask the server for registered models."""
        tracker = surroundings.component(self.tracker)
        if not isinstance(tracker, MLflowTracker):
            found = "there is none" if tracker is None else f"it is {tracker.type}.{tracker.flavor}"
            message = (
                f"trackerRef needs a StackComponent {self.tracker} of experimentTracker.mlflow, and {found}; create it or correct "
                "the name."
            )
            return Verdict.failed("TrackerNotFound", message)
        try:
            server = MLflow(await tracker.access(kubernetes))
        except UnusableError as error:
            return Verdict.failed(error.reason, error.message, tracker.uri)
        try:
            await server.need_registry()
        except RestError as error:
            of_tracker = surroundings.readiness(self.tracker)
            if of_tracker is None or of_tracker["status"] != "True":
                message = f"It waits for the tracker {self.tracker}, which is not ready; see what that says."
                return Verdict.unknown("TrackerNotReady", message, tracker.uri)
            reason, message = explain(error, tracker.uri, logs_in=tracker.config.auth is not None)
            return Verdict.failed(reason, message, tracker.uri)
        finally:
            await server.close()
        return Verdict.usable(f"The model registry of MLflow at {tracker.uri} answers.", tracker.uri)
