"""Train one model, and estimate how good it is by cross-validation on the training part.

What MLflow sees of the training by itself lands in the run that it finds in its environment.
"""

import argparse
from pathlib import Path

import mlflow.sklearn
from sklearn.base import ClassifierMixin
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_validate

from demo.dataset import Dataset
from demo.models import save
from demo.results import write_results

FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm", choices=["forest", "boosting"])
    parser.add_argument("--trees", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, default=0.1, help="of boosting")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--dataset", type=Path, required=True, help="CSV file to read")
    parser.add_argument("--model", type=Path, required=True, help="directory to write: an MLflow model")
    args = parser.parse_args()

    samples, labels = Dataset.read(args.dataset).part("train")
    classifier = make_classifier(args.algorithm, trees=args.trees, learning_rate=args.learning_rate, seed=args.seed)
    scores = cross_validate(
        classifier,
        samples,
        labels,
        scoring=["accuracy", "f1_macro", "neg_log_loss"],
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=args.seed),
    )
    mlflow.sklearn.autolog(log_models=False)  # the model is an artifact of the step
    classifier.fit(samples, labels)
    save(classifier, args.model)
    write_results(
        cv_accuracy=float(scores["test_accuracy"].mean()),
        cv_f1=float(scores["test_f1_macro"].mean()),
        cv_log_loss=-float(scores["test_neg_log_loss"].mean()),
    )


def make_classifier(algorithm: str, *, trees: int, learning_rate: float, seed: int) -> ClassifierMixin:
    if algorithm == "forest":
        return RandomForestClassifier(n_estimators=trees, random_state=seed)
    return GradientBoostingClassifier(n_estimators=trees, learning_rate=learning_rate, random_state=seed)


if __name__ == "__main__":
    main()
