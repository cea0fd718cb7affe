"""The experiment tracker `mlflow`: an MLflow tracking server, one that exists or one that Cairn installs."""
