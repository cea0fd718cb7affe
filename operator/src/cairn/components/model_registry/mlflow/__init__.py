"""The model registry of an MLflow server."""
