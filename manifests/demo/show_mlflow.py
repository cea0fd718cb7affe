"""Show what MLflow has of a PipelineRun that is recorded: `show_mlflow.py NAMESPACE RUN`.

It asks the REST API of the server that the StackComponent `mlflow` has installed, by way of `kubectl port-forward`.
"""

import argparse
import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from show import print_table

SERVICE = "service/mlflow-server"
OWN = "cairn."
"""How Cairn's own metrics begin; the others are the pipeline's."""
SHOWN = 4
"""Metrics of each step."""
Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("namespace")
    parser.add_argument("run")
    args = parser.parse_args()
    command = ["kubectl", "get", "pipelinerun", args.run, "--namespace", args.namespace, "--output", "json"]
    status = json.loads(subprocess.check_output(command))["status"]  # noqa: S603
    with port_forward(args.namespace) as server:
        print_runs(server, status["tracking"])
        for registration in status.get("registrations", []):
            print_version(server, registration)


@contextmanager
def port_forward(namespace: str) -> Iterator[str]:
    """Yield the URL of the server's API on this machine."""
    command = ["kubectl", "port-forward", "--namespace", namespace, SERVICE, ":5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout  # noqa: S101
            port = re.search(r":(\d+) ->", process.stdout.readline())
            if port is None:
                raise SystemExit("kubectl port-forward did not say its port")
            yield f"http://127.0.0.1:{port[1]}/api/2.0/mlflow"
        finally:
            process.terminate()


def print_runs(server: str, tracking: Json) -> None:
    """Print the metrics of a run's record, and of those nested in it."""
    nested = {
        "experiment_ids": [tracking["experimentID"]],
        "filter": f"tags.mlflow.parentRunId = '{tracking['runID']}'",
        "order_by": ["attributes.start_time ASC"],
    }
    rows = [("RUN IN MLFLOW", "STATUS", "METRICS", "PARAMS")]
    for run in ask(server, "runs/search", nested).get("runs", []):
        data = run["data"]
        metrics = [one for one in data.get("metrics", []) if not one["key"].startswith(OWN)]
        metrics.sort(
            key=lambda one: one["key"].startswith("training_")
        )  # what autologging finds says little of a model
        told = " ".join(f"{one['key']}={one['value']:.4g}" for one in metrics[:SHOWN])
        more = f" and {len(metrics) - SHOWN} more" if len(metrics) > SHOWN else ""
        params = f"{len(data.get('params', []))}, autologged" if data.get("params") else ""
        rows.append((run["info"]["run_name"], run["info"]["status"], told + more, params))
    print_table(rows)


def print_version(server: str, registration: Json) -> None:
    """Print the version of a registered model that bears an alias."""
    asked = {"name": registration["model"], "alias": registration["alias"]}
    version = ask(server, f"registered-models/alias?{urllib.parse.urlencode(asked)}")["model_version"]
    print(
        f"\nModel {version['name']}, version {version['version']}, alias {registration['alias']}: {version['source']}"
    )


def ask(server: str, endpoint: str, body: Json | None = None) -> Json:
    request = urllib.request.Request(  # noqa: S310 - http, to this machine
        f"{server}/{endpoint}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, to this machine
        return json.load(answer)


if __name__ == "__main__":
    main()
