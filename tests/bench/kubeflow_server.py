"""Kubeflow Pipelines on a cluster of the bench: the backend of tests/kfp, with an S3 server and a Stack whose runs go there."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from cairn.api.base import JsonObject
from cairn.clients.kubernetes import STACK_COMPONENTS
from tests.bench.cluster import CLUSTERS, BenchCluster
from tests.bench.objects import cairn_object
from tests.kfp.deployment import NAME, PORT, SERVICE, objects

S3_NAMESPACE = "bench-s3"
S3_ENDPOINT = f"http://s3.{S3_NAMESPACE}:7070"
SECRET = "s3"  # noqa: S105 - its name
BUCKET = "bucket"
"""The artifact store of the Stacks; the bucket is named after the bench."""
STEP_USER = 65532
"""As whom Cairn's own Jobs run."""
PAGE = 100
"""Runs, each with all of its pipeline."""


class S3Server:
    """Where Kubeflow Pipelines keeps outputs and logs."""

    def __init__(self, cluster: BenchCluster) -> None:
        self._cluster = cluster
        self._keys = {"AWS_ACCESS_KEY_ID": secrets.token_hex(10), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(10)}

    async def install(self, namespace: str) -> None:
        """Start it, and make an artifact store of it in a namespace."""
        cluster = self._cluster
        await cluster.add_namespace(S3_NAMESPACE, stacks=False)
        await self.give_keys(S3_NAMESPACE)
        manifest = (CLUSTERS / "s3.yaml").read_text().replace("@S3_IMAGE@", cluster.images["S3_IMAGE"])
        await cluster.apply(S3_NAMESPACE, manifest)
        await cluster.kubectl("rollout", "status", "deployment/s3", "--namespace", S3_NAMESPACE, "--timeout=120s")
        await self.give_keys(namespace)
        config = {
            "bucket": "bench",
            "createBucket": True,
            "endpoint": S3_ENDPOINT,
            "credentialsSecretRef": {"name": SECRET},
        }
        store = cairn_object("StackComponent", BUCKET, {"artifactStore": {"s3": config}})
        await cluster.kubernetes.create(STACK_COMPONENTS, namespace, store)

    async def give_keys(self, namespace: str) -> None:
        """Make the Secret with which pods of a namespace open the bucket."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": self._keys}
        await self._cluster.apply(namespace, json.dumps(secret))


class KubeflowServer:
    """One installation, in a namespace of its own."""

    def __init__(self, cluster: BenchCluster, name: str) -> None:
        self._cluster = cluster
        self.stack = name
        """The Stack whose runs go there, and the namespace that they go to."""

    async def install(self, namespace: str, s3: S3Server, options: Iterable[str]) -> None:
        """Start it with options of the backend's command line, and make its Stack in a namespace."""
        cluster = self._cluster
        await cluster.add_namespace(self.stack, stacks=False)
        await s3.give_keys(self.stack)
        made = objects(
            self.stack,
            image=cluster.images["OPERATOR_IMAGE"],
            s3_endpoint=S3_ENDPOINT,
            s3_secret=SECRET,
            options=["--restrict-main", *options],
        )
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
        await cluster.kubectl("apply", "--server-side", "--filename=-", feed=listed)
        await cluster.kubectl("rollout", "status", f"deployment/{NAME}", "--namespace", self.stack, "--timeout=180s")
        config = {
            "endpoint": f"http://{SERVICE}.{self.stack}:{PORT}",
            "namespace": self.stack,
            "podTemplate": {"securityContext": {"runAsUser": STEP_USER}},
        }
        orchestrator = cairn_object("StackComponent", self.stack, {"orchestrator": {"kubeflow": config}})
        await cluster.kubernetes.create(STACK_COMPONENTS, namespace, orchestrator)
        spec = {"orchestratorRef": {"name": self.stack}, "artifactStoreRef": {"name": BUCKET}}
        await cluster.add_stack(namespace, cairn_object("Stack", self.stack, spec))

    async def counts(self) -> Counter[str]:
        """Return how many requests there were of each kind."""
        return Counter(await self._ask("requests"))

    async def ends(self) -> Mapping[str, Mapping[str, float]]:
        """Return, by ID, when each run was over, and when its API had told all of it."""
        return await self._ask("ends")

    async def runs(self) -> list[JsonObject]:
        """Return all that it has."""
        found: list[JsonObject] = []
        token = ""
        while True:
            page = await self._ask(f"apis/v2beta1/runs?page_size={PAGE}&page_token={quote(token)}")
            found += page.get("runs", [])
            token = page.get("next_page_token", "")
            if not token:
                return found

    async def _ask(self, path: str) -> JsonObject:
        proxy = f"/api/v1/namespaces/{self.stack}/services/http:{SERVICE}:{PORT}/proxy"
        return json.loads(await self._cluster.kubectl("get", "--raw", f"{proxy}/{path}"))
