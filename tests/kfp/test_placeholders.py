"""Placeholders in commands and arguments."""

from __future__ import annotations

import pytest

from tests.kfp.backend.placeholders import kubelet_quoted, resolve
from tests.kfp.backend.state import Artifact, Values

INPUTS = Values(
    parameters={"alpha": 0.5, "name": "a b", "list": [1, 2], "shell": "$(HOME)"},
    artifacts={"data": [Artifact(name="data", uri="s3://bucket/key/data", metadata={"rows": 7})]},
)
OUTPUTS = Values(artifacts={"model": [Artifact(name="model", uri="minio://bucket/key/model")]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{$.inputs.parameters['alpha']}}", "0.5"),
        ('--name={{$.inputs.parameters["name"]}}!', "--name=a b!"),
        ("{{$.inputs.parameters['list']}}", "[1,2]"),
        ("{{$.inputs.artifacts['data'].path}}", "/s3/bucket/key/data"),
        ("{{$.inputs.artifacts['data'].uri}}", "s3://bucket/key/data"),
        ("{{$.inputs.artifacts['data'].metadata['rows']}}", "7"),
        ("{{$.outputs.artifacts['model'].path}}", "/minio/bucket/key/model"),
        ("{{$.outputs.parameters['n'].output_file}}", "/tmp/kfp/outputs/n"),  # noqa: S108
        ("{{$.inputs.parameters['unknown']}}", "{{$.inputs.parameters['unknown']}}"),
        ("$(dirname x)", "$(dirname x)"),
    ],
)
def test_placeholders(text: str, expected: str) -> None:
    assert resolve([text], INPUTS, OUTPUTS) == [expected]


def test_what_comes_from_a_value_is_not_for_the_kubelet_to_replace() -> None:
    found = resolve(["{{$.inputs.parameters['shell']}} $(VAR)"], INPUTS, OUTPUTS, kubelet_quoted)

    assert found == ["$$(HOME) $(VAR)"]
