"""What holds of the values of every chart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from cairn.api.base import JsonObject

from .conftest import CHARTS

every_chart = pytest.mark.parametrize("path", [CHARTS / "cairn", CHARTS / "mlflow"], ids=lambda path: path.name)


@every_chart
def test_the_schema_knows_no_value_that_is_not_there(path: Path):
    def missing(schema: JsonObject, values: JsonObject, prefix: str = "") -> Iterator[str]:
        for name, property_ in schema.get("properties", {}).items():
            if name not in values:
                yield prefix + name
            elif isinstance(values[name], dict):
                yield from missing(property_, values[name], f"{prefix}{name}.")

    schema = json.loads((path / "values.schema.json").read_text())
    values = yaml.safe_load((path / "values.yaml").read_text())

    assert list(missing(schema, values)) == ["global", "resources.claims"]


@every_chart
def test_each_value_is_described_where_it_stands(path: Path):
    lines = (path / "values.yaml").read_text().splitlines()
    for before, line in pairwise(lines):
        group = line.endswith(":") and not before.startswith("#")
        if re.match(r"\w+:", line) and not group:
            assert before.startswith("# "), f"no comment above {line}"
