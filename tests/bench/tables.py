"""The tables of the report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from tests.bench.names import (
    BARE_PODS,
    CAIRN_JOBS,
    CAIRN_PODS,
    KUBEFLOW,
    KUBEFLOW_QUICK,
    PLAIN_JOBS,
    REAL,
    UNTRACKED,
)
from tests.bench.parts import KUBEFLOW_RUNS, KUBEFLOW_STEPS, PARTS, RESTART, TRACKED_RUNS, TRACKING_FAULTS
from tests.bench.results import DRY_RUN, Measurement, Results
from tests.bench.statistics import (
    asked_of_kubeflow,
    bytes_of_a_step,
    cpu_seconds,
    gaps,
    median_rate,
    median_seconds,
    operator_writes,
    peak_mib,
    quantile,
    status_writes,
    tracker_requests,
    while_active,
    writes,
)
from tests.bench.targets import CLUSTERS, FLOORS, verdicts

NOT_MEASURED = "Not measured yet."
VERBS = ("GET", "LIST", "POST", "PUT", "PATCH", "DELETE")
REAL_PARTS = ("one", "chain", "fan-out", "burst")
FLOODS = ("flood-1000", "flood-5000")
KUBEFLOW_ARMS = (CAIRN_JOBS, KUBEFLOW, KUBEFLOW_QUICK)
API = "/apis/v2beta1/"
"""Of Kubeflow Pipelines."""
LARGE = ("steps-500", "for-each-1000", "status-5", "status-50", "status-500")


def machine(results: Results) -> str:
    """Return what was measured on, and when."""
    dates = sorted({part.date for part in results.parts.values()})
    commits = sorted({part.commit for part in results.parts.values()})
    measured = {"measured": " to ".join(dict.fromkeys((*dates[:1], *dates[-1:]))), "commit": ", ".join(commits)}
    return table(("", ""), ([name, value] for name, value in {**results.machine, **measured}.items()))


def targets(results: Results) -> str:
    """Return each target and whether it is met."""
    rows = [[one.target, one.measured, "met" if one.met else "**not met**"] for one in verdicts(results)]
    return table(("target", "measured", ""), rows)


def real(results: Results) -> str:
    """Return the works on real nodes."""
    rows: list[list[str]] = []
    for name in _measured(results, REAL_PARTS):
        floor, runs = results.parts[name].of(PLAIN_JOBS), results.parts[name].of(CAIRN_JOBS)
        rows.append(
            [
                PARTS[name].title,
                f"{median_seconds(floor):.1f}",
                f"{median_seconds(runs):.1f}",
                f"{median_seconds(runs) / median_seconds(floor):.2f}",
                _gaps(floor),
                _gaps(runs),
                f"{operator_writes(runs):.1f}",
                f"{cpu_seconds(runs):.2f}",
                f"{peak_mib(runs):.0f}",
                str(len(runs)),
            ]
        )
    head = (
        "work", "plain Jobs s", "Cairn s", "Cairn ÷ plain", "gap of plain Jobs ms, p50 / p90", "of Cairn",
        "operator's writes per run", "its CPU s", "its peak MiB", "n",
    )  # fmt: skip
    return table(head, rows)


def floods(results: Results) -> str:
    """Return the floods."""
    rows: list[list[str]] = []
    for name in _measured(results, FLOODS):
        for cluster, rates in CLUSTERS.items():
            for arm, floor_arm in FLOORS.items():
                floor, runs = results.parts[name].of(floor_arm, cluster), results.parts[name].of(arm, cluster)
                if not floor or not runs:
                    continue
                rows.append(
                    [
                        f"{runs[0].runs:,}",
                        rates,
                        arm,
                        f"{median_seconds(floor):.0f}",
                        f"{median_seconds(runs):.0f}",
                        f"{median_rate(floor):.1f}",
                        f"{median_rate(runs):.1f}",
                        f"{median_rate(runs) / median_rate(floor):.2f}",
                        f"{operator_writes(runs):.1f}",
                        f"{cpu_seconds(runs):.0f}",
                        f"{peak_mib(runs):.0f}",
                        str(len(runs)),
                    ]
                )
    head = (
        "runs", "control plane", "", "floor s", "Cairn s", "floor /s", "Cairn /s", "Cairn ÷ floor",
        "operator's writes per run", "its CPU s", "its peak MiB", "n",
    )  # fmt: skip
    return table(head, rows)


def large(results: Results) -> str:
    """Return the runs of many steps."""
    rows: list[list[str]] = []
    for name in _measured(results, LARGE):
        floor, runs = results.parts[name].of(PLAIN_JOBS), results.parts[name].of(CAIRN_JOBS)
        sizes = [size for one in runs for size, _ in one.updates]
        rows.append(
            [
                PARTS[name].title,
                f"{median_seconds(floor):.0f}" if floor else "",
                f"{median_seconds(runs):.0f}",
                f"{max(one.status_bytes or 0 for one in runs) / 1024:.1f}",
                f"{median([len(one.updates) for one in runs]):.0f}",
                *(f"{quantile(sizes, part):,.0f}" for part in (0.5, 0.99, 1)),
                f"{quantile(bytes_of_a_step(runs), 0.5):.0f}",
                f"{cpu_seconds(runs):.1f}",
                f"{peak_mib(runs):.0f}",
            ]
        )
    head = (
        "run", "plain Jobs s", "Cairn s", "largest status KiB", "updates", "bytes of one, p50", "p99", "largest",
        "for each step it tells of, p50", "operator's CPU s", "its peak MiB",
    )  # fmt: skip
    return table(head, rows)


def restart(results: Results) -> str:
    """Return what happened when after the operator's pod was deleted."""
    if RESTART not in results.parts:
        return NOT_MEASURED
    (one,) = results.parts[RESTART].measurements
    used = one.operator
    said = f"{PARTS[RESTART].title} of one step each; the operator's pod is deleted as `kubectl delete pod` does it."
    if used is not None:
        reads = sum(used.requests.values()) - used.writes
        said += f" The new operator took {used.cpu_seconds:.1f} CPU seconds, {used.peak_mib:.0f} MiB"
        said += f" and {reads} reads and dry runs and {used.writes} writes."
    rows = ([what, f"{seconds:.1f}"] for what, seconds in one.moments.items())
    return f"{one.runs:,} runs: {said}\n\n{table(('seconds after that', ''), rows)}"


def tracking(results: Results) -> str:
    """Return what runs take that are recorded, and what the tracker was asked for."""
    rows: list[list[str]] = []
    for name in _measured(results, (TRACKED_RUNS, TRACKING_FAULTS)):
        part = results.parts[name]
        floor = median_seconds(part.of(UNTRACKED))
        for arm in dict.fromkeys(one.arm for one in part.measurements):
            found = part.of(arm)
            asked = f"{tracker_requests(found):.1f}" if found[0].tracker_requests else ""
            seconds = median_seconds(found)
            rows.append(
                [
                    PARTS[name].title,
                    arm,
                    f"{seconds:.1f}",
                    f"{seconds / floor:.2f}" if floor else "",
                    asked,
                    str(len(found)),
                ]
            )
    return table(("", "", "s", "÷ no tracker", "requests to MLflow per run", "n"), rows)


def kubeflow_runs(results: Results) -> str:
    """Return what the operator uses while many runs are active at once on Kubeflow Pipelines."""
    rows: list[list[str]] = []
    for arm, found in _arms(results, KUBEFLOW_RUNS):
        is_kubeflow = arm != CAIRN_JOBS
        rows.append(
            [
                f"{found[0].runs:,}",
                arm,
                f"{median([one.moments['all under way'] for one in found]):.0f}",
                f"{while_active(found, lambda active: active.lasted):.0f}",
                f"{while_active(found, lambda active: active.rate):.1f}" if is_kubeflow else "",
                f"{while_active(found, lambda active: active.busiest):.1f}" if is_kubeflow else "",
                f"{while_active(found, lambda active: active.cores):.3f}",
                f"{max(one.active.peak_mib if one.active else 0 for one in found):.0f}",
                f"{asked_of_kubeflow(found):.1f}" if is_kubeflow else "",
                f"{operator_writes(found):.1f}",
                f"{status_writes(found):.1f}",
                f"{median_seconds(found):.0f}",
                str(len(found)),
            ]
        )
    head = (
        "runs", "", "s until all are active", "s that all are", "requests to KFP /s meanwhile", "at most", "operator's cores",
        "its peak MiB", "requests to KFP per run", "operator's writes per run", "of these, of its status", "s in all", "n",
    )  # fmt: skip
    return table(head, rows)


def kubeflow_requests(results: Results) -> str:
    """Return what Kubeflow Pipelines is asked for, by kind."""
    rows: list[list[str]] = []
    for arm, found in _arms(results, KUBEFLOW_RUNS):
        kinds = dict.fromkeys(kind for one in found if one.kubeflow for kind in one.kubeflow.requests)
        for kind in kinds if arm != CAIRN_JOBS else ():
            each_second = while_active(found, lambda active, of=kind: active.requests.get(of, 0) / active.seconds)
            rows.append([f"`{kind.replace(API, '')}`", f"{each_second:.2f}", f"{asked_of_kubeflow(found, kind):.1f}"])
    return table(("request", "/s while all are active", "per run in all"), rows)


def kubeflow_steps(results: Results) -> str:
    """Return how long a short run takes on Kubeflow Pipelines, and what of that is Cairn's."""
    rows: list[list[str]] = []
    arms = dict(_arms(results, KUBEFLOW_STEPS))
    for arm, found in arms.items():
        seconds = median_seconds(found)
        there = [one.kubeflow for one in found if one.kubeflow]
        rows.append(
            [
                arm,
                f"{seconds:.1f}",
                f"{seconds / median_seconds(arms[CAIRN_JOBS]):.2f}",
                *(
                    f"{quantile(values, 0.5):.2f} / {max(values):.2f}" if values else ""
                    for values in (
                        [value for one in there for value in one.told_after],
                        [value for one in there for value in one.noticed_after],
                        [value for one in there for value in one.behind],
                    )
                ),
                f"{asked_of_kubeflow(found):.1f}" if there else "",
                f"{operator_writes(found):.1f}",
                str(len(found)),
            ]
        )
    head = (
        PARTS[KUBEFLOW_STEPS].title, "s", "÷ Jobs", "s until KFP tells its end, p50 / max", "then until Cairn does", "together",
        "requests to KFP", "operator's writes", "n",
    )  # fmt: skip
    return table(head, rows)


def requests(results: Results) -> str:
    """Return everybody's requests by verb."""
    rows: list[list[str]] = []
    for name in _measured(results, (*REAL_PARTS, *FLOODS, *LARGE[:2], KUBEFLOW_RUNS, KUBEFLOW_STEPS)):
        for cluster in (REAL, *CLUSTERS):
            for arm in (PLAIN_JOBS, CAIRN_JOBS, BARE_PODS, CAIRN_PODS, KUBEFLOW, KUBEFLOW_QUICK):
                found = results.parts[name].of(arm, cluster)
                if found:
                    where = f", {CLUSTERS[cluster]}" if name in FLOODS else ""
                    own = f"{operator_writes(found):.1f}" if found[0].operator else ""
                    by_verb = [_of_verb(found, verb) for verb in VERBS]
                    rows.append([PARTS[name].title + where, arm, *by_verb, f"{writes(found):.1f}", own])
    return table(("", "", *VERBS, "writes", "the operator's"), rows)


def _of_verb(measurements: Sequence[Measurement], verb: str) -> str:
    def each_run(name: str) -> float:
        return median([one.requests.get(name, 0) / one.runs for one in measurements])

    dry = each_run(f"{verb} {DRY_RUN}")
    return f"{each_run(verb):.1f}" + (f" ({dry:.1f})" if dry >= 0.05 else "")


def _gaps(measurements: Sequence[Measurement]) -> str:
    found = gaps(measurements)
    return f"{quantile(found, 0.5):.0f} / {quantile(found, 0.9):.0f}" if found else ""


def _arms(results: Results, name: str) -> Iterator[tuple[str, list[Measurement]]]:
    """Yield the arms of a part of Kubeflow Pipelines that have been measured, Jobs first."""
    for arm in KUBEFLOW_ARMS if name in results.parts else ():
        found = results.parts[name].of(arm)
        if found:
            yield arm, found


def _measured(results: Results, names: Iterable[str]) -> list[str]:
    return [name for name in names if name in results.parts]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, or that there is nothing for it yet."""
    lines = [head, ["---"] * len(head), *rows]
    if len(lines) == 2:
        return NOT_MEASURED
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
