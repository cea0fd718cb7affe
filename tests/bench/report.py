from pathlib import Path

from tests.bench.results import Results


def write(results: Results, directory: Path) -> None: ...
