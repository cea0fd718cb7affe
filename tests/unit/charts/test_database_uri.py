"""The URI of a database that the image of MLflow is given."""

from __future__ import annotations

import pytest

from .conftest import CHARTS, module_at

database_uri = module_at(CHARTS / "mlflow/image/database_uri.py")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("postgresql://user:password@db/mlflow", "postgresql+psycopg2://user:password@db/mlflow"),
        ("postgres://user:password@db/mlflow", "postgresql+psycopg2://user:password@db/mlflow"),
        ("postgresql+psycopg2://user:password@db/mlflow", "postgresql+psycopg2://user:password@db/mlflow"),
        ("sqlite:////mlflow/mlflow.db", "sqlite:////mlflow/mlflow.db"),
    ],
)
def test_it_names_the_driver_that_the_image_has(monkeypatch: pytest.MonkeyPatch, given: str, named: str):
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", given)

    assert database_uri.name_driver() == named
