"""Which steps run, and how often: `when`, `forEach` and `finally`."""

from __future__ import annotations

import json

import pytest

from cluster import Body, Cluster, condition, results, states, step
from manifests import python, run

FOREVER = "import time\ntime.sleep(3600)"


def writes(name: str, values: str, **fields: object) -> Body:
    """A step whose results are that Python expression."""
    code = f"import json, os\nopen(os.environ['CAIRN_RESULTS'], 'w').write(json.dumps({values}))"
    return python(name, code, **fields)


WHEN = [
    writes("measure", "{'rmse': 0.3}", outputs={"results": ["rmse"]}),
    python("tune", "pass", dependsOn=["measure"], when="double(steps.measure.results.rmse) > 0.5"),
    python("ship", "pass", dependsOn=["tune"], when="params.mode == 'full' && steps.tune.state == 'Skipped'"),
    writes("skipped", "{'x': 1}", dependsOn=["measure"], when="false", outputs={"results": ["x"]}),
    python("uses", "pass", env=[{"name": "X", "value": "$(steps.skipped.results.x)"}]),
]
FOR_EACH = [
    writes("split", "{'shards': ['b', 'a', 3]}", outputs={"results": ["shards"]}),
    writes(
        "train",
        "{'seen': os.environ['CAIRN_ITEM'] + os.environ['CAIRN_ITEM_INDEX'] + os.environ['OWN']}",
        forEach={"itemsFrom": "steps.split.results.shards"},
        when="item.value != 'a'",
        env=[{"name": "OWN", "value": "$(item.value)$(item.index)"}],
        outputs={"results": ["seen"]},
    ),
    python(
        "keep",
        "import os\nopen('/out/keep/item', 'w').write(os.environ['CAIRN_ITEM'])",
        forEach={"items": ["x", "y"]},
        outputs={"artifacts": [{"name": "item", "path": "/out/keep/item"}]},
    ),
    writes(
        "gather",
        "{'seen': os.environ['SEEN'], 'kept': [open(f'/in/kept/{n}').read() for n in sorted(os.listdir('/in/kept'))]}",
        env=[{"name": "SEEN", "value": "$(steps.train.results.seen)"}],
        inputs={"artifacts": [{"name": "kept", "from": "keep.item", "path": "/in/kept"}]},
        outputs={"results": ["seen", "kept"]},
    ),
    writes("none", "{'y': 1}", forEach={"items": []}, outputs={"results": ["y"]}),
    writes(
        "of-none",
        "{'got': os.environ['Y']}",
        env=[{"name": "Y", "value": "$(steps.none.results.y)"}],
        outputs={"results": ["got"]},
    ),
]
FAILS = [python("fails", "raise SystemExit(3)"), python("after", "pass", dependsOn=["fails"])]
FIRST = [
    writes("split", "{'shards': ['a', 'b']}", outputs={"results": ["shards"]}),
    python(
        "keep",
        "import os\nopen('/out/keep/item', 'w').write(os.environ['CAIRN_RUN'] + os.environ['CAIRN_ITEM'])",
        forEach={"itemsFrom": "steps.split.results.shards"},
        outputs={"artifacts": [{"name": "item", "path": "/out/keep/item"}]},
    ),
]
GATHER = {
    "inputs": {"artifacts": [{"name": "kept", "from": "keep.item", "path": "/in/kept"}]},
    "outputs": {"results": ["kept"]},
}
FAILING = python("gather", "raise SystemExit(1)", **GATHER)
MENDED = writes("gather", "{'kept': [open(f'/in/kept/{n}').read() for n in sorted(os.listdir('/in/kept'))]}", **GATHER)
LAST = [
    python("tidy", "pass", timeoutSeconds=60),
    python("tell", "pass", when="run.state == 'Failed' && steps.fails.state == 'Failed'", timeoutSeconds=60),
    python("praise", "pass", when="run.state == 'Succeeded'", timeoutSeconds=60),
]


@pytest.fixture(scope="module", params=["kubernetes", pytest.param("pods", marks=pytest.mark.full), "local"])
def workload(request: pytest.FixtureRequest) -> str:
    """The name of a stack; which steps run, and how often, differs little between the workloads of `kubernetes`."""
    return request.param


@pytest.fixture(scope="module")
def runs(shared_stacks: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """All runs of this module, started together, on the workloads of the tests that were selected."""
    here = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    for on in sorted({str(item.callspec.params["workload"]) for item in here}):
        shared_stacks.create(run(f"when-{on}", WHEN, on=on, parameters=[{"name": "mode", "value": "full"}]))
        shared_stacks.create(run(f"for-each-{on}", FOR_EACH, on=on))
        shared_stacks.create(
            run(f"broken-items-{on}", [writes("split", "{'n': 'x'}", outputs={"results": ["n"]}), BROKEN], on=on)
        )
        shared_stacks.create(run(f"finally-{on}", FAILS, on=on, failurePolicy="FailFast", **{"finally": LAST}))
        shared_stacks.create(run(f"first-{on}", [*FIRST, FAILING], on=on))
        again = {"rerunOf": {"name": f"first-{on}"}}
        shared_stacks.create(run(f"again-{on}", [*FIRST, MENDED], on=on, **again))
        for cancel in ("graceful", "immediate"):
            last = [python("tidy", "pass", timeoutSeconds=60)]
            shared_stacks.create(run(f"{cancel}-{on}", [python("works", FOREVER)], on=on, **{"finally": last}))
        shared_stacks.create(
            run(f"late-{on}", [python("works", FOREVER)], on=on, timeoutSeconds=5, **{"finally": LAST[:1]})
        )
    return shared_stacks


BROKEN = python("each", "pass", forEach={"itemsFrom": "steps.split.results.n"})


def test_a_step_runs_only_when_its_expression_is_true(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"when-{workload}", timeout=300)

    assert condition(ended, "Succeeded")["reason"] == "Completed"
    assert {name: (state, step(ended, name).get("reason")) for name, state in states(ended).items()} == {
        "measure": ("Succeeded", None),
        "tune": ("Skipped", "WhenFalse"),
        "ship": ("Succeeded", None),
        "skipped": ("Skipped", "WhenFalse"),
        "uses": ("Skipped", "DependencySkipped"),
    }


def test_a_step_runs_for_each_item_and_what_comes_of_it_is_gathered(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"for-each-{workload}", timeout=400)

    assert condition(ended, "Succeeded")["reason"] == "Completed", ended["status"]
    assert {item["name"]: item.get("item") for item in ended["status"]["steps"]} == {
        "split": None,
        "train-0": "b",
        "train-1": "a",
        "train-2": "3",
        "keep-0": "x",
        "keep-1": "y",
        "gather": None,
        "none": None,
        "of-none": None,
    }
    assert step(ended, "train-1")["reason"] == "WhenFalse"
    assert results(ended, "gather"), step(ended, "gather")
    assert json.loads(results(ended, "gather")["seen"]) == ["b0b0", None, "3232"]
    assert json.loads(results(ended, "gather")["kept"]) == ["x", "y"]
    assert (step(ended, "none")["state"], step(ended, "none")["reason"]) == ("Succeeded", "NoItems")
    assert results(ended, "of-none")["got"] == "[]"


def test_items_that_are_no_list_fail_the_step(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"broken-items-{workload}", timeout=300)

    assert step(ended, "each")["reason"] == "ItemsInvalid"
    assert step(ended, "each")["message"].startswith("steps.split.results.n is not JSON; write a JSON list")


def test_finally_runs_after_a_failure_and_knows_of_it(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"finally-{workload}", timeout=300)

    told = condition(ended, "Succeeded")
    assert (told["reason"], told["message"].split(":")[0]) == ("StepFailed", "Step fails failed")
    assert states(ended) == {
        "fails": "Failed",
        "after": "Skipped",
        "tidy": "Succeeded",
        "tell": "Succeeded",
        "praise": "Skipped",
    }


def test_finally_runs_after_a_graceful_cancel(runs: Cluster, workload: str) -> None:
    ended = _cancelled(runs, f"graceful-{workload}", "Graceful")

    assert condition(ended, "Succeeded")["reason"] == "Cancelled"
    assert states(ended) == {"works": "Cancelled", "tidy": "Succeeded"}


def test_finally_does_not_run_after_an_immediate_cancel(runs: Cluster, workload: str) -> None:
    ended = _cancelled(runs, f"immediate-{workload}", "Immediate")

    assert states(ended) == {"works": "Cancelled", "tidy": "Cancelled"}


def test_finally_runs_after_the_timeout_of_the_run(runs: Cluster, workload: str) -> None:
    ended = runs.finished(f"late-{workload}", timeout=300)

    assert condition(ended, "Succeeded")["reason"] == "TimedOut"
    assert states(ended) == {"works": "Cancelled", "tidy": "Succeeded"}


def test_a_run_takes_over_what_an_earlier_one_has_done(runs: Cluster, workload: str) -> None:
    first = runs.finished(f"first-{workload}", timeout=300)
    ended = runs.finished(f"again-{workload}", timeout=300)

    assert condition(first, "Succeeded")["reason"] == "StepFailed"
    assert condition(ended, "Succeeded")["reason"] == "Completed", ended["status"]
    assert {item["name"]: item.get("reason") for item in ended["status"]["steps"]} == {
        "split": "TakenOver",
        "keep-0": "TakenOver",
        "keep-1": "TakenOver",
        "gather": None,
    }
    assert json.loads(results(ended, "gather")["kept"]) == [f"first-{workload}a", f"first-{workload}b"]
    made = runs.list("Pod", f"cairn.dev/run=again-{workload}")
    assert len(made) == 1, "a step that was taken over has run again"


def _cancelled(runs: Cluster, name: str, cancel: str) -> Body:
    runs.wait("PipelineRun", name, lambda body: states(body).get("works") == "Running", timeout=300)
    runs.patch("PipelineRun", name, {"spec": {"cancel": cancel}})
    return runs.finished(name, timeout=300)
