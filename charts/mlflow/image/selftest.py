"""Records a run with an artifact at the server that MLFLOW_TRACKING_URI names, reads it back, and removes it."""

from __future__ import annotations

import sys

import mlflow

EXPERIMENT = "helm-test"
TEXT = "written by helm test"


def main() -> int:
    """Return 0; what does not work raises MlflowException."""
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run() as run:
        mlflow.log_metric("tested", 1)
        mlflow.log_text(TEXT, "tested.txt")
    read = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/tested.txt")
    metric = mlflow.get_run(run.info.run_id).data.metrics["tested"]
    mlflow.delete_run(run.info.run_id)
    print(f"MLflow {mlflow.__version__}: metric {metric:g}, artifact {read!r} at {run.info.artifact_uri}")
    return 0 if read == TEXT else 1


if __name__ == "__main__":
    sys.exit(main())
