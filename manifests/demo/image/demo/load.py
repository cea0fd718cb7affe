"""Write the Wisconsin breast cancer dataset (UCI; shipped by scikit-learn), a part of it set aside for tests."""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from demo.dataset import Dataset
from demo.results import write_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test-fraction", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--dataset", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args()

    source = load_breast_cancer()
    labels = source.target_names[source.target]
    _, test = train_test_split(
        np.arange(len(labels)), test_size=args.test_fraction, stratify=labels, random_state=args.seed
    )
    parts = np.full(len(labels), "train")
    parts[test] = "test"
    dataset = Dataset(
        features=[str(name) for name in source.feature_names], samples=source.data, labels=labels, parts=parts
    )
    dataset.write(args.dataset)
    write_results(rows=len(labels), columns=len(dataset.features), test_rows=len(test))


if __name__ == "__main__":
    main()
