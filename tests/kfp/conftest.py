"""Fixtures of the tests with Kubeflow Pipelines."""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kfp.sdk_process import Sdk

WITH_SDK = ["test_sdk.py"]
"""Runs in the environment that has `kfp` and not the operator; everything else, in the operator's."""

collect_ignore = WITH_SDK if find_spec("kfp") is None else []


@pytest.fixture(scope="session")
def sdk() -> Generator[Sdk]:
    from tests.kfp.sdk_process import sdk_process  # the operator is not everywhere that this file is read

    with sdk_process() as process:
        yield process
