from __future__ import annotations

from pathlib import Path

import pytest

from cairn.generate import generated_files

ROOT = Path(__file__).parents[3]
GENERATED = generated_files()


@pytest.mark.parametrize("path", GENERATED)
def test_what_is_committed_is_what_the_models_say(path: str):
    assert (ROOT / path).read_text() == GENERATED[path], "run `make generate`"
