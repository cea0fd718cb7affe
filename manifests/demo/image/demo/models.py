"""Models as MLflow keeps them: a directory that says how it is loaded."""

from pathlib import Path

import cloudpickle
import mlflow
import mlflow.sklearn
import sklearn
from sklearn.base import ClassifierMixin


def save(model: ClassifierMixin, directory: Path) -> None:
    """Write a model; what it needs is named, which MLflow would else load it to find out."""
    needs = [f"{package.__name__}=={package.__version__}" for package in (mlflow, cloudpickle)]
    # trees are not among the types that MLflow's own format, skops, loads without being told to
    mlflow.sklearn.save_model(
        model,
        str(directory),
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
        pip_requirements=[f"scikit-learn=={sklearn.__version__}", *needs],
    )


def load(directory: Path) -> ClassifierMixin:
    """Read a model."""
    return mlflow.sklearn.load_model(str(directory))
