"""An MLflow server on a cluster of the bench, behind a proxy that counts requests and can be told to fail."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from cairn.api.base import API_VERSION, JsonObject
from cairn.clients.kubernetes import STACK_COMPONENTS, STACKS, Kubernetes
from tests.bench.cluster import CHECKOUT, CLUSTERS, BenchCluster
from tests.bench.objects import JOBS_STACK, STORE

NAMESPACE = "bench-mlflow"
TRACKED_STACK = "tracked"
PROXY = f"/api/v1/namespaces/{NAMESPACE}/services/http:proxy:8080/proxy"
SERVERS = "app.kubernetes.io/instance=mlflow-server,app.kubernetes.io/component=server"
PROGRAM = Path(__file__).with_name("faulty_proxy.py")
POSTGRESQL = CHECKOUT / "tests/cluster/postgresql.yaml"
KILLED_AFTER_SECONDS = (3.0, 10.0)

Fault = Callable[[], AbstractAsyncContextManager[None]]


class MLflowServer:
    """The server, what is wrong with it, and what it has."""

    def __init__(self, cluster: BenchCluster) -> None:
        self._cluster = cluster

    async def install(self, namespace: str) -> None:
        """Have Cairn install it, and make a Stack in a namespace whose runs it records."""
        cluster = self._cluster
        await cluster.add_namespace(NAMESPACE, stacks=False)
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "proxy"},
            "data": {PROGRAM.name: PROGRAM.read_text()},
        }
        await cluster.apply(NAMESPACE, json.dumps(config))
        given = {**cluster.images, "NAMESPACE": NAMESPACE, "PASSWORD": secrets.token_hex(10)}
        for manifest in (POSTGRESQL, CLUSTERS / "mlflow.yaml"):
            text = manifest.read_text()
            for name, value in given.items():
                text = text.replace(f"@{name}@", value)
            await cluster.apply(NAMESPACE, text)
        await self._kubectl("wait", "stackcomponent/mlflow", "--for=condition=Ready", "--timeout=300s")
        await self._kubectl("rollout", "status", "deployment/proxy", "--timeout=120s")
        await _add_stack(cluster.kubernetes, namespace)

    async def counts(self) -> Counter[str]:
        """Return how many requests there were of each kind."""
        return Counter(json.loads(await self._cluster.kubectl("get", "--raw", f"{PROXY}/-/counts")))

    async def runs(self, experiment: str, prefix: str) -> list[JsonObject]:
        """Return what it has of runs whose PipelineRuns' names begin so, and of their attempts."""
        named = await self._ask(f"experiments/get-by-name?experiment_name={experiment}")
        body: JsonObject = {
            "experiment_ids": [named["experiment"]["experiment_id"]],
            "filter": f"tags.`cairn.run` LIKE '{prefix}-%'",
            "max_results": 1000,
        }
        found: list[JsonObject] = []
        while True:
            page = await self._ask("runs/search", body)
            found += page.get("runs", [])
            if not page.get("next_page_token"):
                return found
            body["page_token"] = page["next_page_token"]

    @property
    def faults(self) -> Mapping[str, Fault]:
        """What can be wrong with it, for as long as one is within the context."""
        return {
            "MLflow is killed": self._killed,
            "its database is stopped": self._database_stopped,
            "its Service answers 503": lambda: self._answers("503"),
            "its Service answers 30 s late": lambda: self._answers("late"),
        }

    @asynccontextmanager
    async def _killed(self) -> AsyncGenerator[None]:
        async def kill() -> None:
            waited = 0.0
            for moment in KILLED_AFTER_SECONDS:
                await asyncio.sleep(moment - waited)
                waited = moment
                await self._kubectl("delete", "pod", f"--selector={SERVERS}", "--grace-period=0", "--force")

        killing = asyncio.create_task(kill())
        yield
        await killing
        await self._kubectl("rollout", "status", "deployment/mlflow-server", "--timeout=180s")

    @asynccontextmanager
    async def _database_stopped(self) -> AsyncGenerator[None]:
        await self._kubectl("scale", "deployment/postgresql", "--replicas=0")
        await self._kubectl("wait", "pod", "--selector=app=postgresql", "--for=delete", "--timeout=60s")
        yield
        await self._kubectl("scale", "deployment/postgresql", "--replicas=1")
        await self._kubectl("rollout", "status", "deployment/postgresql", "--timeout=120s")

    @asynccontextmanager
    async def _answers(self, mode: str) -> AsyncGenerator[None]:
        await self._cluster.kubectl("get", "--raw", f"{PROXY}/-/mode/{mode}")
        yield
        await self._cluster.kubectl("get", "--raw", f"{PROXY}/-/mode/pass")

    async def _ask(self, endpoint: str, body: JsonObject | None = None) -> JsonObject:
        path = f"{PROXY}/api/2.0/mlflow/{endpoint}"
        if body is None:
            return json.loads(await self._cluster.kubectl("get", "--raw", path))
        return json.loads(await self._cluster.kubectl("create", "--raw", path, "--filename=-", feed=json.dumps(body)))

    async def _kubectl(self, *arguments: str) -> str:
        return await self._cluster.kubectl("--namespace", NAMESPACE, *arguments)


async def _add_stack(kubernetes: Kubernetes, namespace: str) -> None:
    tracker = {"experimentTracker": {"mlflow": {"uri": f"http://proxy.{NAMESPACE}:8080"}}}
    spec = {
        "orchestratorRef": {"name": JOBS_STACK},
        "artifactStoreRef": {"name": STORE},
        "experimentTrackerRef": {"name": "mlflow"},
    }
    for resource, name, one in ((STACK_COMPONENTS, "mlflow", tracker), (STACKS, TRACKED_STACK, spec)):
        body = {"apiVersion": API_VERSION, "kind": resource.kind, "metadata": {"name": name}, "spec": one}
        await kubernetes.create(resource, namespace, body)
