"""Who has created a run."""

from __future__ import annotations

import pytest

from cairn.runs.creator import creator_of
from tests.unit.builders import run_body, run_spec

TRACKED = {"argocd.argoproj.io/tracking-id": "wine:cairn.dev/PipelineRun:ml/wine-1"}
COPIED = {"argocd.argoproj.io/tracking-id": "wine:cairn.dev/PipelineRun:ml/wine-0"}


@pytest.mark.parametrize(
    ("annotations", "creator"),
    [
        (None, None),
        ({"cairn.dev/created-by": "alice@example.com"}, "alice@example.com"),
        (TRACKED, "Argo CD application wine"),
        (TRACKED | {"cairn.dev/created-by": "alice"}, "alice"),
        (COPIED, None),
        ({"argocd.argoproj.io/tracking-id": "nonsense"}, None),
    ],
)
def test_is_whom_its_annotations_tell(annotations: dict[str, str] | None, creator: str | None):
    body = run_body(run_spec())
    body["metadata"]["annotations"] = annotations

    assert creator_of(body) == creator
