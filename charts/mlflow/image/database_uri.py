"""The URI of the database, as Secrets hold it, for MLflow."""

from __future__ import annotations

import os
import re

VARIABLE = "MLFLOW_BACKEND_STORE_URI"
_WITHOUT_DRIVER = re.compile("^postgres(ql)?://")


def name_driver() -> str:
    """Have the URI name the driver that the image has, as operators of databases leave it out; return it."""
    uri = os.environ[VARIABLE] = _WITHOUT_DRIVER.sub("postgresql+psycopg2://", os.environ[VARIABLE])
    return uri
