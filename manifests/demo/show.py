"""Follow a PipelineRun until it has finished, then show what became of it: `show.py NAMESPACE RUN`.

It reads what `kubectl get --watch` prints. Exits with 1 if the run did not succeed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

TIME_LIMIT_SECONDS = 1200
Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("namespace")
    parser.add_argument("run")
    args = parser.parse_args()

    run = follow(args.namespace, args.run)
    print_steps(run)
    succeeded = condition(run, "Succeeded")
    if succeeded.get("status") == "True":
        print_artifacts(run)
        print(f"\n{args.run} succeeded after {span(run['status'])}.")
        return
    print_failures(args.namespace, run)
    print(
        f"\n{args.run} did not succeed: {succeeded.get('reason', 'Unknown')}: {succeeded.get('message', 'no status')}"
    )
    sys.exit(1)


def follow(namespace: str, name: str) -> Json:
    """Print each change of a step's state until the run has finished or the time is up; return the run."""
    start = time.monotonic()
    shown: dict[str, str] = {}
    run: Json = {}
    for run in watch(namespace, name, deadline=start + TIME_LIMIT_SECONDS):
        for step in run.get("status", {}).get("steps", []):
            state = describe(step)
            if shown.get(step["name"], "Pending") != state:
                shown[step["name"]] = state
                print(f"  {time.monotonic() - start:4.0f} s  {step['name']:<16}{state}", flush=True)
        if condition(run, "Finished").get("status") == "True":
            return run
    print(f"{name} has not finished after {TIME_LIMIT_SECONDS} s.")
    return run


def watch(namespace: str, name: str, *, deadline: float) -> Iterator[Json]:
    """Yield the run as it is and after each change. A watch that ends early is begun again."""
    while (left := deadline - time.monotonic()) > 0:
        # kubectl prints one indented object after another, so that a line of a brace alone ends an object
        command = ["kubectl", "get", "pipelinerun", name, "--namespace", namespace, "--output", "json"]
        options = ["--watch", f"--request-timeout={left:.0f}s"]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout  # noqa: S101
            try:
                lines: list[str] = []
                for line in process.stdout:
                    lines.append(line)
                    if line.rstrip() == "}":
                        yield json.loads("".join(lines))
                        lines.clear()
            finally:
                process.terminate()
        time.sleep(1)  # before the next try


def describe(step: Json) -> str:
    """Return the state, and the reason if there is one: `Queued (ErrImagePull)`."""
    return f"{step['state']} ({step['reason']})" if step.get("reason") else step["state"]


def condition(run: Json, kind: str) -> Json:
    conditions = run.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == kind), {})


def print_steps(run: Json) -> None:
    rows = [("STEP", "STATE", "DURATION", "RESULTS")]
    for step in run.get("status", {}).get("steps", []):
        results = " ".join(f"{result['name']}={result['value']}" for result in step.get("results", []))
        rows.append((step["name"], describe(step), span(step), results))
    print()
    print_table(rows)


def print_artifacts(run: Json) -> None:
    rows = [("ARTIFACT", "SIZE", "URI AND DIGEST")]
    for step in run["status"].get("steps", []):
        for artifact in step.get("artifacts", []):
            size = f"{artifact['sizeBytes'] / 1024:.1f} KiB"
            rows += [
                (f"{step['name']}.{artifact['name']}", size, artifact["uri"]),
                ("", "", artifact["digest"]),
            ]
    print()
    print_table(rows)


def print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_failures(namespace: str, run: Json) -> None:
    for step in run.get("status", {}).get("steps", []):
        if step["state"] in {"Pending", "Succeeded", "Cached", "Skipped"}:
            continue
        print(f"\n{step['name']}: {describe(step)}: {step.get('message', '')}")
        if step.get("logTail"):
            print(*(f"    {line}" for line in step["logTail"].splitlines()), sep="\n")
        if step.get("podName"):
            print(f"    kubectl logs --namespace {namespace} {step['podName']} --all-containers")


def span(status: Json) -> str:
    """Return the time from start to completion, as far as they are known."""
    start, end = status.get("startTime"), status.get("completionTime")
    if not (start and end):
        return ""
    seconds = round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


if __name__ == "__main__":
    main()
