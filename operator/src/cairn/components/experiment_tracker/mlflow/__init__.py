"""The experiment tracker `mlflow`: an MLflow server that exists, or one that Cairn installs."""
