"""Measure each model on the part that no model was trained with, and hand on the better one.

The better one is that with the lower log loss: on so few rows the accuracies are often the same.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score, roc_curve

from demo.dataset import Dataset
from demo.models import load
from demo.results import write_results

POSITIVE = "malignant"


class Metrics(TypedDict):
    """How good one model is; the curve is that of the receiver operating characteristic."""

    accuracy: float
    f1: float
    log_loss: float
    roc_auc: float
    false_positive_rate: list[float]
    true_positive_rate: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="CSV file to read")
    parser.add_argument("--forest", type=Path, required=True, help="model to read")
    parser.add_argument("--boosting", type=Path, required=True, help="model to read")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--model", type=Path, required=True, help="directory to write: the better model")
    args = parser.parse_args()

    samples, labels = Dataset.read(args.dataset).part("test")
    models = {"forest": args.forest, "boosting": args.boosting}
    metrics = {name: measure(load(model), samples, labels) for name, model in models.items()}
    best = min(metrics, key=lambda name: metrics[name]["log_loss"])

    args.metrics.write_text(json.dumps(metrics, indent=2))
    shutil.copytree(models[best], args.model)
    write_results(
        best=best,
        test_accuracy=metrics[best]["accuracy"],
        **{f"test_log_loss_{name}": m["log_loss"] for name, m in metrics.items()},
    )


def measure(model: ClassifierMixin, samples: NDArray[np.float64], labels: NDArray[np.str_]) -> Metrics:
    probabilities = model.predict_proba(samples)
    predicted = model.classes_[probabilities.argmax(axis=1)]
    of_positive = probabilities[:, list(model.classes_).index(POSITIVE)]
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, of_positive, pos_label=POSITIVE)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, average="macro")),
        "log_loss": float(log_loss(labels, probabilities, labels=model.classes_)),
        "roc_auc": float(roc_auc_score(labels == POSITIVE, of_positive)),
        "false_positive_rate": false_positive_rate.tolist(),
        "true_positive_rate": true_positive_rate.tolist(),
    }


if __name__ == "__main__":
    main()
