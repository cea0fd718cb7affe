"""KFP's own client against the backend; runs where `kfp` is installed, which is never beside the operator (`make test-kfp`).

Annotations are not put off here: the SDK reads those of a pipeline.
"""

import asyncio
import threading
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.kfp.backend.app import make_app
from tests.kfp.backend.auth import Auth
from tests.kfp.backend.clock import Timing, WallClock
from tests.kfp.backend.engine import Engine
from tests.kfp.backend.operation import Host
from tests.kfp.backend.pod_spec import Helpers, make_pod
from tests.kfp.backend.scripted import Deed, ScriptedExecutor
from tests.kfp.backend.state import Attempt
from tests.kfp.backend.store import Store
from tests.kfp.harness import PIPELINE_ROOT

kfp: Any = import_module("kfp")
server_api: Any = import_module("kfp_server_api")
compiler: Any = import_module("kfp.compiler")

COMPONENT = """
name: {name}
inputs: [{{name: x, type: String}}]
outputs: [{{name: y, type: String}}]
implementation:
  container:
    image: i
    command: [sh, -c, 'echo $0 > $1']
    args: [{{inputValue: x}}, {{outputPath: y}}]
"""
POLL_SECONDS = 0.1


def doubles(attempt: Attempt) -> Deed:
    if attempt.inputs.parameters["x"] == "fail":
        return Deed(exit_code=1, starts_after=0, takes=0)
    written = {"y": attempt.inputs.parameters["x"] * 2}
    return Deed(parameters=written, starts_after=0, takes=0)


@pytest.fixture
def executor() -> ScriptedExecutor:
    return ScriptedExecutor(WallClock(), doubles)


@pytest.fixture
def address(executor: ScriptedExecutor) -> Generator[str]:
    """Serve from a thread of its own, as the SDK blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    clock, store = WallClock(), Store()
    host = Host(executor=executor, timing=Timing.scaled(0.1), pipeline_root=PIPELINE_ROOT, cache=store.cache)
    runner = web.AppRunner(make_app(store, Engine(store, host, clock), clock, Auth()))

    async def begin() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield asyncio.run_coroutine_threadsafe(begin(), loop).result()
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def client(address: str) -> Any:
    return kfp.Client(host=address)


@pytest.fixture
def package(tmp_path: Path) -> str:
    """A pipeline of steps, a condition, a loop and an exit task, as the SDK compiles it."""
    first, second, third, clean = (
        kfp.components.load_component_from_text(COMPONENT.format(name=name))
        for name in ("first", "second", "third", "clean")
    )

    def pipeline(x: str) -> None:
        with kfp.dsl.ExitHandler(clean(x="clean")):
            begun = first(x=x)
            with kfp.dsl.If(begun.outputs["y"] == "aa"):
                second(x=begun.outputs["y"])
            with kfp.dsl.ParallelFor(["p", "q"]) as item:
                third(x=item)

    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(kfp.dsl.pipeline(name="sample")(pipeline), str(path))
    return str(path)


def run(client: Any, package: str, x: str) -> Any:
    """Run the package to its end."""
    experiment = client.create_experiment("sdk")
    started = client.run_pipeline(experiment.experiment_id, f"run-{x}", package, {"x": x}, enable_caching=False)
    return client.wait_for_run_completion(started.run_id, timeout=60, sleep_duration=POLL_SECONDS)


def states(found: Any) -> dict[str, str | None]:
    return {task.display_name: task.state for task in found.run_details.task_details}


def settled(client: Any, run_id: str) -> dict[str, str | None]:
    """The tasks once they have been reported, which is after the run."""
    found = states(client.get_run(run_id))
    while {"PENDING", "RUNNING"} & set(found.values()):
        found = states(client.get_run(run_id))
    return found


def test_the_client_runs_what_the_sdk_has_compiled(client: Any, package: str) -> None:
    found = run(client, package, "a")

    tasks = settled(client, found.run_id)

    assert found.state == "SUCCEEDED"
    assert tasks["second"] == tasks["condition-2"] == tasks["clean"] == "SUCCEEDED"
    assert tasks["iteration-iterations(1:1)"] == "SUCCEEDED"


def test_a_condition_that_does_not_hold_is_skipped(client: Any, package: str) -> None:
    found = run(client, package, "b")

    assert settled(client, found.run_id)["condition-2"] == "SKIPPED"


def test_a_failed_run_is_told_as_such(client: Any, package: str) -> None:
    found = run(client, package, "fail")

    assert found.state == "FAILED"
    assert settled(client, found.run_id)["clean"] == "SUCCEEDED"


def test_runs_are_listed_with_their_experiment(client: Any, package: str) -> None:
    found = run(client, package, "a")

    listed = client.list_runs(experiment_id=found.experiment_id, page_size=10, sort_by="created_at desc")

    assert [one.run_id for one in listed.runs] == [found.run_id]
    assert client.get_experiment(experiment_name="sdk").experiment_id == found.experiment_id


def test_an_experiment_is_made_once(client: Any) -> None:
    assert client.create_experiment("sdk").experiment_id == client.create_experiment("sdk").experiment_id


def test_the_generated_client_terminates_and_deletes(client: Any, package: str, address: str) -> None:
    api = server_api.RunServiceApi(server_api.ApiClient(server_api.Configuration(host=address)))
    started = client.create_run_from_pipeline_package(package, {"x": "a"}, experiment_name="sdk", enable_caching=False)

    api.run_service_terminate_run(started.run_id)
    stopped = api.run_service_get_run(started.run_id)
    api.run_service_delete_run(started.run_id)

    assert stopped.state in {"CANCELING", "FAILED"}
    with pytest.raises(server_api.ApiException, match="404"):
        api.run_service_get_run(started.run_id)


def test_what_the_sdk_says_to_kubernetes_reaches_the_pod(
    client: Any, executor: ScriptedExecutor, tmp_path: Path
) -> None:
    kubernetes: Any = import_module("kfp.kubernetes")
    component = kfp.components.load_component_from_text(COMPONENT.format(name="first"))

    def pipeline(x: str, chosen: str) -> None:
        task = component(x=x)
        task.set_cpu_limit("500m").set_memory_request("1Gi").set_accelerator_type(
            "nvidia.com/gpu"
        ).set_accelerator_limit(1)
        task.set_env_variable("A", "1")
        kubernetes.use_secret_as_env(task, secret_name=chosen, secret_key_to_env={"k": "V"})
        kubernetes.use_secret_as_volume(task, secret_name="files", mount_path="/files")  # noqa: S106 - a name
        kubernetes.use_config_map_as_env(task, config_map_name="config", config_map_key_to_env={"k": "W"})
        kubernetes.mount_pvc(task, pvc_name="claim", mount_path="/data")
        kubernetes.add_node_selector(task, label_key="disk", label_value="ssd")
        kubernetes.add_toleration(task, key="gpu", operator="Exists", effect="NoSchedule")
        kubernetes.set_image_pull_secrets(task, ["registry"])
        kubernetes.set_image_pull_policy(task, "Always")
        kubernetes.set_timeout(task, seconds=600)
        kubernetes.add_pod_label(task, label_key="team", label_value="a")
        kubernetes.use_field_path_as_env(task, env_name="NODE", field_path="spec.nodeName")
        kubernetes.set_security_context(task, run_as_user=1000, run_as_non_root=True)
        kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/scratch")

    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(kfp.dsl.pipeline(name="sample")(pipeline), str(path))
    started = client.create_run_from_pipeline_package(str(path), {"x": "a", "chosen": "s3"}, enable_caching=False)
    client.wait_for_run_completion(started.run_id, timeout=60, sleep_duration=POLL_SECONDS)

    pod = make_pod(executor.started[0], Helpers(image="i", endpoint="http://s3"), "ml")
    spec, main = pod["spec"], pod["spec"]["containers"][0]
    env = {one["name"]: one.get("value") or next(iter(one["valueFrom"].values())) for one in main["env"]}
    assert env["A"] == "1"
    assert env["V"]["name"] == "s3"
    assert env["W"]["name"] == "config"
    assert env["NODE"] == {"fieldPath": "spec.nodeName"}
    assert main["resources"] == {"limits": {"cpu": "500m", "nvidia.com/gpu": "1"}, "requests": {"memory": "1Gi"}}
    assert {one["mountPath"] for one in main["volumeMounts"]} >= {"/files", "/data", "/scratch"}
    assert main["securityContext"] == {"runAsUser": 1000, "runAsNonRoot": True}
    assert main["imagePullPolicy"] == "Always"
    assert (spec["nodeSelector"], spec["activeDeadlineSeconds"]) == ({"disk": "ssd"}, 600)
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["metadata"]["labels"]["team"] == "a"
