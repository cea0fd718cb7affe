from __future__ import annotations

from pathlib import Path

import pytest

from cairn.generate import generated_files

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", generated_files())
def test_what_is_committed_is_what_the_models_say(path: str):
    assert (ROOT / path).read_text() == generated_files()[path], "run `make generate`"
