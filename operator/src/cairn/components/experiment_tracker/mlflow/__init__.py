"""The experiment tracker `mlflow`: an MLflow tracking server that exists."""
