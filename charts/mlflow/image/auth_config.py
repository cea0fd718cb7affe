"""Writes MLflow's configuration of log-ins, which names the database: only a Secret holds its URI."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import database_uri


def write() -> None:
    """Write the file that MLFLOW_AUTH_CONFIG_PATH names, if any; users are kept beside the runs."""
    path = os.environ.get("MLFLOW_AUTH_CONFIG_PATH")
    if path is None:
        return
    config = configparser.ConfigParser(interpolation=None)
    config["mlflow"] = {
        "database_uri": os.environ[database_uri.VARIABLE].replace("%", "%%"),  # MLflow reads it with interpolation
        "default_permission": os.environ["AUTH_DEFAULT_PERMISSION"],
        "auth_cache_ttl_seconds": os.environ["AUTH_CACHE_SECONDS"],
    }
    file = Path(path)
    file.touch(mode=0o600)
    with file.open("w", encoding="utf-8") as opened:
        config.write(opened)
