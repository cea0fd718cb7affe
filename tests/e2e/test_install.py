"""The operator is installed into an empty cluster in each way that there is, is of use, and is removed again.

The cluster's own operator makes room for that, and is installed again at the end.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from cairn.api.crd import UNSEEN
from charts.release.manifest import install_manifest
from cluster import Cluster
from faults import OPERATOR, on_node
from image_registry import image_registry
from images import CHECKOUT, image
from installation import KINDS, SYSTEM, completed, empty, left, restricted, says_hello
from manifests import RESTRICTED
from mlflow_server import helm, of_image
from operator_release import install

pytestmark = [pytest.mark.alone, pytest.mark.full]

CHART = CHECKOUT / "charts/cairn"
PULL_SECRET = "registry"  # noqa: S105 - its name
PRIORITY = "e2e-install"
APPLY = {"client-side": (), "server-side": ("--server-side",)}
CATEGORY = "    categories:\n    - cairn\n"


@pytest.fixture(scope="module", autouse=True)
def installed_again(cluster: Cluster, digest: str) -> Iterator[None]:
    """Install the operator again that the other tests use, whatever became of it."""
    yield
    empty(cluster)
    install()


@pytest.fixture(autouse=True)
def nothing_installed(cluster: Cluster, installed_again: None) -> None:
    """Have the cluster without Cairn."""
    empty(cluster)


@pytest.fixture(scope="module")
def digest(cluster: Cluster) -> str:
    """The digest of the operator's image, which the nodes know it by, too, as if they had pulled it so."""
    (pod,) = cluster.list("Pod", OPERATOR)
    found = pod["status"]["containerStatuses"][0]["imageID"].partition("@")[2]
    reference = image("OPERATOR_IMAGE")
    if os.environ.get("CLUSTER") != "current":
        for node in cluster.list("Node"):
            known, by_digest = f"docker.io/{reference}", f"docker.io/{reference.rpartition(':')[0]}@{found}"
            on_node(node["metadata"]["name"], "ctr", "-n", "k8s.io", "images", "tag", "--force", known, by_digest)
    return found


@pytest.fixture
def system(cluster: Cluster) -> Cluster:
    """The namespace to install into: nothing in it, and for restricted pods only."""
    return restricted(cluster, SYSTEM)


@pytest.fixture
def team(cluster: Cluster, nothing_installed: None) -> Iterator[Cluster]:
    """A namespace whose runs the operator looks after."""
    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace:
        yield namespace


@pytest.fixture(params=["cluster-scope", "namespaces"])
def values(
    request: pytest.FixtureRequest, cluster: Cluster, system: Cluster, team: Cluster, digest: str
) -> Iterator[Sequence[str]]:
    """Values for the whole cluster; and for one namespace, with all else that an administrator may ask for."""
    by_tag = [f"{name}={value}" for name, value in of_image(image("OPERATOR_IMAGE")).items()]
    if request.param == "cluster-scope":
        yield by_tag
        return
    docker_config = json.dumps({"auths": {"registry.example": {"auth": "bm9ib2R5OnNlY3JldA=="}}})
    system.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": PULL_SECRET},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": docker_config},
        }
    )
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": PRIORITY}}
    cluster.apply({**priority, "value": 1000})
    yield [
        *by_tag,
        f"image.digest={digest}",
        f"namespaces={{{team.namespace}}}",
        f"imagePullSecrets[0].name={PULL_SECRET}",
        f"priorityClassName={PRIORITY}",
        "commonLabels.owner=platform",
        "podLabels.tier=control",
    ]
    cluster.kubectl("delete", "priorityclass", PRIORITY)


def installs(chart: Path, values: Sequence[str], *options: str) -> list[str]:
    """Return Helm's arguments."""
    given = [f"--set={value}" for value in values]
    return ["upgrade", "--install", "cairn", str(chart), "--wait", "--timeout=180s", *given, *options]


def previous(directory: Path) -> Path:
    """Return a chart of an older version, whose CRDs are not yet what they are now: there is no `kubectl get cairn`."""
    chart = Path(shutil.copytree(CHART, directory / "cairn"))
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**metadata, "version": "0.0.1"}))
    crd = chart / "templates/crds/stacks.yaml"
    assert CATEGORY in crd.read_text()
    crd.write_text(crd.read_text().replace(CATEGORY, ""))
    return chart


def categories(cluster: Cluster) -> list[str]:
    """Return how else `kubectl get` finds Stacks."""
    crd = json.loads(cluster.kubectl("get", "crd", "stacks.cairn.dev", "--output=json"))
    return crd["spec"]["names"].get("categories", [])


def test_helm_installs_upgrades_rolls_back_and_uninstalls(
    system: Cluster, team: Cluster, values: Sequence[str], tmp_path: Path
) -> None:
    helm(system, *installs(previous(tmp_path), values, "--set=log.level=DEBUG"))
    helm(system, "test", "cairn")
    says_hello(team, "installed")
    assert categories(system) == []

    helm(system, *installs(CHART, values))
    helm(system, "test", "cairn")
    says_hello(team, "upgraded")
    assert categories(system) == ["cairn"], "the upgrade did not replace the CRD"

    helm(system, "rollback", "cairn", "1", "--wait", "--timeout=180s")
    helm(system, "test", "cairn")
    says_hello(team, "rolled-back")

    helm(system, "uninstall", "cairn", "--wait", "--timeout=180s")
    assert left(system) == []
    for name in ("installed", "upgraded", "rolled-back"):
        assert completed(team.get("PipelineRun", name)), f"the run {name} did not stay as it was"
        team.delete("PipelineRun", name)
        team.wait_gone("PipelineRun", name, timeout=30)


def test_what_was_kept_is_taken_up_by_the_next_installation(system: Cluster, team: Cluster) -> None:
    by_tag = [f"{name}={value}" for name, value in of_image(image("OPERATOR_IMAGE")).items()]
    helm(system, *installs(CHART, by_tag))
    says_hello(team, "before")
    helm(system, "uninstall", "cairn", "--wait", "--timeout=180s")

    helm(system, *installs(CHART, by_tag))

    assert completed(team.get("PipelineRun", "before"))
    says_hello(team, "after")


def test_helm_removes_the_crds_too_where_it_is_told_so(system: Cluster, team: Cluster) -> None:
    by_tag = [f"{name}={value}" for name, value in of_image(image("OPERATOR_IMAGE")).items()]
    helm(system, *installs(CHART, by_tag, "--set=crds.keep=false"))
    says_hello(team, "hello")

    helm(system, "uninstall", "cairn", "--wait", "--timeout=180s")

    assert left(system) == []
    found = system.kubectl(
        "get", "crd", *(f"{kind}.cairn.dev" for kind in KINDS), "--ignore-not-found", "--output=name"
    )
    assert not found


@pytest.mark.parametrize("values", ["namespaces"], indirect=True)
def test_the_values_reach_every_pod(system: Cluster, team: Cluster, values: Sequence[str], digest: str) -> None:
    helm(system, *installs(CHART, values))

    (pod,) = system.list("Pod", OPERATOR)
    assert pod["spec"]["containers"][0]["image"].endswith(f"@{digest}")
    assert pod["spec"]["imagePullSecrets"] == [{"name": PULL_SECRET}]
    assert (pod["spec"]["priorityClassName"], pod["spec"]["priority"]) == (PRIORITY, 1000)
    assert {"owner": "platform", "tier": "control"}.items() <= pod["metadata"]["labels"].items()
    for kind in ("ServiceAccount", "Deployment", "Service"):
        found = system.get(kind, "cairn")
        assert found is not None
        assert found["metadata"]["labels"]["owner"] == "platform"


@pytest.mark.parametrize("values", ["namespaces"], indirect=True)
def test_with_namespaces_the_operator_leaves_others_alone(
    cluster: Cluster, system: Cluster, team: Cluster, values: Sequence[str]
) -> None:
    helm(system, *installs(CHART, values))

    with cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as other:
        asked = {"pipeline": "p", "steps": [{"name": "only", "image": "python:3.11-slim-bookworm", "script": "pass"}]}
        kind = {"apiVersion": "cairn.dev/v1alpha1", "kind": "PipelineRun", "metadata": {"name": "ignored"}}
        other.create({**kind, "spec": asked})
        says_hello(team, "seen")  # which was asked for later

        ignored = other.get("PipelineRun", "ignored")
        assert ignored is not None
        assert ignored["status"] == UNSEEN
        assert other.list("Pod") == []


@pytest.fixture(scope="module")
def published(cluster: Cluster) -> Iterator[str]:
    """The registry that `make publish` has put this checkout's release into."""
    with (
        cluster.temporary_namespace(f"e2e-{secrets.token_hex(4)}", RESTRICTED) as namespace,
        image_registry(namespace) as registry,
    ):
        publish = ["make", "publish", f"REGISTRY={registry}", "HELM_PUSH_ARGS=--plain-http"]
        subprocess.run(publish, check=True, cwd=CHECKOUT, timeout=900)
        yield registry
        images = subprocess.run(["docker", "images", "-q", f"{registry}/cairn/*"], check=True, stdout=subprocess.PIPE)
        subprocess.run(["docker", "rmi", "--force", *images.stdout.decode().split()], check=True)


def test_one_command_installs_what_was_published(system: Cluster, team: Cluster, published: str) -> None:
    chart = f"oci://{published}/charts/cairn"

    helm(system, "install", "cairn", chart, "--version=0.1.0", "--plain-http", "--wait", "--timeout=180s")

    (pod,) = system.list("Pod", OPERATOR)
    provenance = json.loads((CHECKOUT / "dist/provenance.intoto.json").read_text())
    digests = {one["name"]: one["digest"]["sha256"] for one in provenance["subject"]}
    repository = f"{published}/cairn/operator"
    assert pod["spec"]["containers"][0]["image"] == f"{repository}@sha256:{digests[repository]}"
    says_hello(team, "hello")


@pytest.mark.parametrize("name", ["operator:0.1.0", "mlflow:3.17.2"])
def test_what_was_published_says_what_it_is(published: str, name: str) -> None:
    inspect = ["docker", "image", "inspect", f"{published}/cairn/{name}", "--format={{json .Config.Labels}}"]
    labels = json.loads(subprocess.run(inspect, check=True, stdout=subprocess.PIPE).stdout)

    told = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    revision = subprocess.run(["git", "rev-parse", "HEAD"], check=True, stdout=subprocess.PIPE, cwd=CHECKOUT).stdout
    assert (told["title"], told["version"]) == (f"cairn-{name.partition(':')[0]}", name.partition(":")[2])
    assert told["revision"] == revision.decode().strip()
    assert str(CHECKOUT) not in str(labels), "a path of the machine that built it"


@pytest.fixture(params=["kustomize", "one-file"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Sequence[str]:
    """Kubectl's arguments for the kustomize base, with the image as its README says, and for a release's one file."""
    operator, mlflow = image("OPERATOR_IMAGE"), image("MLFLOW_IMAGE")
    if request.param == "one-file":
        manifest = tmp_path / "install.yaml"
        manifest.write_text(install_manifest("0.1.0", operator, mlflow))
        return ["--filename", str(manifest)]
    base = Path(shutil.copytree(CHECKOUT / "manifests/install", tmp_path / "manifests/install"))
    shutil.copytree(CHECKOUT / "crds", tmp_path / "crds")
    kustomization = yaml.safe_load((base / "kustomization.yaml").read_text())
    name, _, tag = operator.rpartition(":")
    kustomization["images"] = [{"name": "cairn/operator", "newName": name, "newTag": tag}]
    (base / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return ["--kustomize", str(base)]


@pytest.mark.parametrize("mode", APPLY)
def test_kubectl_installs_twice_without_a_difference(
    cluster: Cluster, team: Cluster, source: Sequence[str], mode: str
) -> None:
    system = cluster.within(SYSTEM)
    cluster.kubectl("apply", *APPLY[mode], *source)
    system.kubectl("rollout", "status", "deployment/cairn", "--timeout=180s")
    says_hello(team, "first")
    before = generations(cluster)

    cluster.kubectl("apply", *APPLY[mode], *source)

    assert cluster.kubectl("diff", *APPLY[mode], *source) == ""
    assert generations(cluster) == before
    says_hello(team, "second")

    subprocess.run([str(CHECKOUT / "manifests/install/release.sh")], check=True, timeout=120)
    cluster.kubectl("delete", *source, "--ignore-not-found", "--timeout=180s")  # they go with the namespace, too
    assert left(cluster) == []


def generations(cluster: Cluster) -> dict[str, int]:
    """Return how often each of the installation's objects has changed that count this."""
    kinds = ("deployment", "--namespace", SYSTEM), ("crd",)
    listed = (json.loads(cluster.kubectl("get", *kind, "--output=json"))["items"] for kind in kinds)
    return {item["metadata"]["name"]: item["metadata"]["generation"] for items in listed for item in items}


def test_kustomize_makes_what_the_one_file_of_a_release_has() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(CHECKOUT / "manifests/install")], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    operator, mlflow = "cairn/operator:0.1.0", ""

    assert by_name(built) == by_name(install_manifest("0.1.0", operator, mlflow))


def by_name(manifest: str) -> dict[tuple[str, str], object]:
    """Return the objects of a text."""
    items = [item for item in yaml.safe_load_all(manifest) if item]
    return {(item["kind"], item["metadata"]["name"]): item for item in items}
