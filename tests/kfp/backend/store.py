"""Experiments, runs and the cache: in memory, and in files if a directory is given, so that a restart loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from .cache import Cache
from .state import Experiment, Run


class Store:
    """What the backend remembers."""

    def __init__(self, directory: Path | None = None) -> None:
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, Run] = {}
        self.cache = Cache()
        self._directory = directory
        if directory is not None:
            self._read(directory)

    def _read(self, directory: Path) -> None:
        (directory / "experiments").mkdir(parents=True, exist_ok=True)
        (directory / "runs").mkdir(parents=True, exist_ok=True)
        for path in (directory / "experiments").glob("*.json"):
            self.experiments[path.stem] = Experiment.model_validate_json(path.read_text())
        for path in (directory / "runs").glob("*.json"):
            self.runs[path.stem] = Run.model_validate_json(path.read_text())
        if (directory / "cache.json").exists():
            self.cache = Cache.model_validate_json((directory / "cache.json").read_text())

    def save_experiment(self, experiment: Experiment) -> None:
        """Remember an experiment."""
        self.experiments[experiment.experiment_id] = experiment
        self._write("experiments", experiment.experiment_id, experiment)

    def save_run(self, run: Run) -> None:
        """Remember a run, and what its tasks have put into the cache."""
        self.runs[run.run_id] = run
        self._write("runs", run.run_id, run)
        if self._directory is not None:
            _replace(self._directory / "cache.json", self.cache.model_dump_json())

    def delete_experiment(self, experiment_id: str) -> None:
        """Forget an experiment."""
        del self.experiments[experiment_id]
        self._delete("experiments", experiment_id)

    def delete_run(self, run_id: str) -> None:
        """Forget a run."""
        del self.runs[run_id]
        self._delete("runs", run_id)

    def experiments_named(self, name: str, namespace: str) -> Iterator[Experiment]:
        """Return the experiments of that name in a namespace."""
        return (one for one in self.experiments.values() if one.display_name == name and one.namespace == namespace)

    def _write(self, kind: str, identifier: str, content: BaseModel) -> None:
        if self._directory is not None:
            _replace(self._directory / kind / f"{identifier}.json", content.model_dump_json())

    def _delete(self, kind: str, identifier: str) -> None:
        if self._directory is not None:
            (self._directory / kind / f"{identifier}.json").unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
