"""What is written of the model registry `mlflow`."""

from __future__ import annotations

from pydantic import Field

from cairn.api.base import LocalRef, Model


class MLflowRegistryConfig(Model):
    """Keeps versions of models in the registry of an MLflow server."""

    tracker_ref: LocalRef = Field(
        description="StackComponent experimentTracker.mlflow whose server has the registry. Stacks name it, too."
    )
