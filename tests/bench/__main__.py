"""`make bench`: measures all parts, or those asked for, and writes the report."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from tests.bench import report
from tests.bench.cluster import CHECKOUT, cluster
from tests.bench.kubeflow import measure_kubeflow
from tests.bench.machine import describe
from tests.bench.measure import Bench, tell
from tests.bench.names import DEFAULTS, RAISED, REAL
from tests.bench.parts import KUBEFLOW_RUNS, KUBEFLOW_STEPS, PARTS, RESTART, TRACKED_RUNS, TRACKING_FAULTS
from tests.bench.restart import measure_restart
from tests.bench.results import Measurement, Part, Results
from tests.bench.tracking import measure_tracking

RESULTS = CHECKOUT / "docs/benchmarks/results.json"


def main() -> None:
    """Measure, keep the results, write the report."""
    arguments = _arguments()
    if not arguments.render:
        asyncio.run(_measure(arguments))
    results = Results.load(arguments.results)
    if not results.parts:
        raise SystemExit(f"{arguments.results} has nothing to report.")
    report.write(results, arguments.results.parent)


async def _measure(arguments: argparse.Namespace) -> None:
    results = Results.load(arguments.results)
    measured: dict[str, list[Measurement]] = {}
    for variant in (REAL, RAISED, DEFAULTS):
        names = [name for name in arguments.only if variant in PARTS[name].clusters and variant in arguments.clusters]
        if not names:
            continue
        async with cluster(variant, keep=arguments.keep) as made:
            bench = Bench(made)
            await bench.prepare()
            results.machine = await describe(made)
            for name in names:
                tell(f"  {PARTS[name].title}")
                kept = measured.setdefault(name, [])
                async for one in _of(bench, name, arguments):
                    kept.append(one)
                    results.parts[name] = _part(kept, results.parts.get(name), arguments.clusters)
                    results.save(arguments.results)


async def _of(bench: Bench, name: str, arguments: argparse.Namespace) -> AsyncIterator[Measurement]:
    if name == RESTART:
        yield await measure_restart(bench, arguments.size)
        return
    for names, measure in (
        ({TRACKED_RUNS, TRACKING_FAULTS}, measure_tracking),
        ({KUBEFLOW_RUNS, KUBEFLOW_STEPS}, measure_kubeflow),
    ):
        if name in names:
            async for one in measure(bench, name, arguments.size, arguments.repetitions):
                yield one
            return
    async for one in bench.measure(name, PARTS[name], arguments.size, arguments.repetitions):
        yield one


def _part(measured: Sequence[Measurement], before: Part | None, clusters: Sequence[str]) -> Part:
    """Return the part with what is new, and what it had of clusters that were left out."""
    others = [one for one in (before.measurements if before else ()) if one.cluster not in clusters]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, check=True)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return Part(date=date, commit=commit.stdout.decode().strip(), measurements=[*others, *measured])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    clusters = (REAL, RAISED, DEFAULTS)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="these parts")
    parser.add_argument("--clusters", nargs="+", choices=clusters, default=clusters, help="on these clusters")
    parser.add_argument("--size", type=float, default=1, help="of floods and large runs, 0.05 to try the bench itself")
    parser.add_argument("--repetitions", type=int, help="instead of each part's own")
    parser.add_argument("--keep", action="store_true", help="keep the clusters")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the report again")
    parser.add_argument("--results", type=type(RESULTS), default=RESULTS, help="where to keep what is measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
