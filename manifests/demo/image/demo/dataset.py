"""The dataset as one step writes it and the others read it: a CSV file with a header."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

LABEL = "diagnosis"
PART = "part"


@dataclass(frozen=True)
class Dataset:
    """Samples with a label, some to train with and the others to test with."""

    features: list[str]
    samples: NDArray[np.float64]
    labels: NDArray[np.str_]
    parts: NDArray[np.str_]

    def part(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
        """Return samples and labels of the part `train` or `test`."""
        chosen = self.parts == name
        return self.samples[chosen], self.labels[chosen]

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*self.features, LABEL, PART])
            for sample, label, part in zip(self.samples, self.labels, self.parts, strict=True):
                writer.writerow([*(repr(float(value)) for value in sample), label, part])

    @classmethod
    def read(cls, path: Path) -> Self:
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        return cls(
            features=header[:-2],
            samples=np.array([row[:-2] for row in rows], dtype=np.float64),
            labels=np.array([row[-2] for row in rows]),
            parts=np.array([row[-1] for row in rows]),
        )
