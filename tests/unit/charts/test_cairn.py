"""The chart's objects: what must hold whatever the values, and what each value does."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from cairn.api.base import JsonObject
from cairn.settings import Settings

from .conftest import CHARTS, KUBERNETES, ROOT, Chart, Objects, RenderError, load

CHART = CHARTS / "cairn"
DIGEST = "sha256:" + "0123456789abcdef" * 4
EVERYTHING = (
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "tracing.endpoint=http://collector:4318",
    "grafanaDashboard.enabled=true",
    "networkPolicy.enabled=true",
    "extraVolumes[0].name=ca",
    "extraVolumeMounts[0].name=ca",
    "extraEnv[0].name=HTTPS_PROXY",
    "imagePullSecrets[0].name=registry",
    "tolerations[0].key=gpu",
    "nodeSelector.pool=system",
    "priorityClassName=system-cluster-critical",
)
TOKENS = ("", "serviceaccounts/token", "create")
OWN_ROLE = "cairn-token"
MODES = [(), EVERYTHING, ("replicas=2",), ("namespaces={ml,research}",), ("crds.install=false", "rbac.create=false")]


@pytest.fixture(scope="session")
def chart(cairn: Chart) -> Chart:
    return cairn


def rules(role: JsonObject) -> Iterator[tuple[str, str, str]]:
    """Yield group, resource and verb of all that a role permits."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


def permissions(objects: Objects, kind: str) -> set[tuple[str, str, str]]:
    """Return what the operator may do by roles of a kind; neither the hook's nor people's."""
    bound = {binding["roleRef"]["name"] for binding in objects.of(f"{kind}Binding")}
    roles = [role for role in objects.of(kind) if role["metadata"]["name"] in bound and role not in objects.hooks]
    return {rule for role in roles for rule in rules(role)}


@pytest.mark.parametrize("values", MODES)
def test_lint_finds_nothing(chart: Chart, values: tuple[str, ...]):
    chart.lint(*values)


def test_the_version_is_the_project_s():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert metadata["version"] == metadata["appVersion"] == project["version"]


# ---- permissions


def test_the_operator_s_permissions_name_everything(default: Objects):
    allowed = permissions(default, "ClusterRole")

    assert not [rule for rule in allowed if "*" in rule]
    assert {verb for _, resource, verb in allowed if resource == "secrets"} == {
        *("get", "list", "watch"),
        *("create", "update", "delete"),  # in which Helm keeps releases
    }
    assert not {verb for group, _, verb in allowed if group == "rbac.authorization.k8s.io"}


def test_every_rule_says_what_uses_it():
    for path in (*CHART.glob("templates/rbac/*.yaml"), CHART / "templates/uninstall.yaml"):
        lines = path.read_text().splitlines()
        for before, line in pairwise(lines):
            if "- apiGroups:" in line and "people" not in path.name:
                assert before.strip().startswith("#"), f"{path.name}: no comment above {line.strip()}"


def test_cluster_wide_the_operator_has_cluster_roles_and_one_role_for_itself(default: Objects):
    assert [role["metadata"]["name"] for role in default.of("Role") if role not in default.hooks] == [OWN_ROLE]


@pytest.mark.parametrize("values", [(), ("namespaces={ml,research}",), ("serviceAccount.create=false",)])
def test_the_operator_makes_tokens_of_its_own_account_alone(chart: Chart, values: tuple[str, ...]):
    objects = chart.render(*values)

    role = objects.one("Role", OWN_ROLE)
    (rule,) = role["rules"]
    assert role["metadata"]["namespace"] == "cairn-system"
    assert list(rules(role)) == [TOKENS]
    assert rule["resourceNames"] == [objects.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"]]


def test_in_namespaces_the_operator_has_the_same_permissions_there_and_none_elsewhere(chart: Chart, default: Objects):
    objects = chart.render("namespaces={ml,research}")
    storage_classes = {("storage.k8s.io", "storageclasses", "get")}

    assert permissions(objects, "ClusterRole") == storage_classes
    assert permissions(objects, "Role") == (permissions(default, "ClusterRole") - storage_classes) | {TOKENS}
    for kind in ("Role", "RoleBinding"):
        roles = (item["metadata"] for item in objects.of(kind) if item not in objects.hooks)
        names = [name for name in roles if name["name"] != OWN_ROLE]
        assert {name["namespace"] for name in names} == {"ml", "research"}
        assert len(names) == 2 * len({name["name"] for name in names})
    assert objects.env["CAIRN_NAMESPACES"] == "ml,research"


@pytest.mark.parametrize("values", MODES)
def test_every_binding_is_of_a_role_that_exists_to_the_operator_s_account(chart: Chart, values: tuple[str, ...]):
    objects = chart.render(*values, "serviceAccount.name=someone")
    account = {"kind": "ServiceAccount", "name": "someone", "namespace": "cairn-system"}

    for kind in ("Role", "ClusterRole"):
        roles = {(role["metadata"].get("namespace"), role["metadata"]["name"]) for role in objects.of(kind)}
        for binding in objects.of(f"{kind}Binding"):
            assert (binding["metadata"].get("namespace"), binding["roleRef"]["name"]) in roles
            assert binding["subjects"] == [account]
    assert all(pod.get("serviceAccountName", "someone") == "someone" for pod in objects.pods)
    assert objects.one("ServiceAccount", "someone")


def test_people_get_what_the_built_in_roles_promise(default: Objects):
    view, edit = default.one("ClusterRole", "cairn-view"), default.one("ClusterRole", "cairn-edit")

    assert {verb for _, _, verb in rules(view)} == {"get", "list", "watch"}
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]
    assert not [resource for _, resource, _ in rules(edit) if "status" in resource]


def test_two_operators_share_a_cluster(chart: Chart):
    """Nothing that belongs to no namespace has the same name in both."""
    values = ("crds.install=false", "rbac.aggregate=false", "namespaces={ml}")
    first, second = (
        chart.run(
            "template",
            "cairn",
            str(CHART),
            f"--namespace={namespace}",
            "--kube-version=1.34",
            *(f"--set={value}" for value in values),
        )
        for namespace in ("one", "two")
    )
    names: list[set[tuple[str, str]]] = [
        {
            (item["kind"], item["metadata"]["name"])
            for item in yaml.safe_load_all(text)
            if item and "namespace" not in item["metadata"]
        }
        for text in (first, second)
    ]

    assert names[0]
    assert names[0].isdisjoint(names[1])


def test_without_rbac_there_are_no_roles(chart: Chart):
    objects = chart.render("rbac.create=false", "rbac.aggregate=false")

    assert not [item["kind"] for item in objects.items if "Role" in item["kind"]]


# ---- pods


@pytest.mark.parametrize("values", MODES)
def test_pods_satisfy_pod_security_restricted(chart: Chart, values: tuple[str, ...]):
    pods = list(chart.render(*values).pods)

    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert isinstance(pod["securityContext"]["runAsUser"], int)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_one_operator_at_a_time(default: Objects):
    spec = default.one("Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_of_several_operators_the_one_with_the_lease_works(chart: Chart):
    objects = chart.render("replicas=2")

    spec = objects.one("Deployment")["spec"]
    environment = {item["name"]: item.get("value") for item in spec["template"]["spec"]["containers"][0]["env"]}
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    namespace = objects.one("Deployment")["metadata"]["namespace"]
    assert environment["CAIRN_LEASE"] == f"{namespace}/cairn"
    assert set(rules(objects.one("Role", "cairn-lease"))) == {
        ("coordination.k8s.io", "leases", verb) for verb in ("get", "patch", "create")
    }


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ((), "cairn/operator:0.1.0"),
        (("image.repository=localhost:5000/cairn", "image.tag=dev"), "localhost:5000/cairn:dev"),
        (("image.tag=dev", f"image.digest={DIGEST}"), f"cairn/operator@{DIGEST}"),
    ],
)
def test_the_image(chart: Chart, values: tuple[str, ...], image: str):
    objects = chart.render(*values)

    assert {container["image"] for pod in objects.pods for container in pod["containers"]} == {image}
    assert objects.env["CAIRN_STEP_IMAGE"] == image


def test_steps_may_use_another_image(chart: Chart):
    env = chart.render("step.image=registry.example/step:1", "step.imagePullPolicy=Always").env

    assert (env["CAIRN_STEP_IMAGE"], env["CAIRN_STEP_IMAGE_PULL_POLICY"]) == ("registry.example/step:1", "Always")


def test_the_operator_understands_its_environment(default: Objects):
    settings = {name.removeprefix("CAIRN_").lower() for name in default.env if name.startswith("CAIRN_")}

    assert settings <= set(Settings.model_fields)
    assert {name for name, field in Settings.model_fields.items() if field.is_required()} <= settings


def test_runs_are_traced_where_there_is_a_collector(chart: Chart, default: Objects):
    env = chart.render("tracing.endpoint=http://collector:4318").env

    assert "CAIRN_TRACING_ENDPOINT" not in default.env
    assert Settings.model_validate({"step_image": "cairn", "tracing_endpoint": env["CAIRN_TRACING_ENDPOINT"]})


def test_probes_and_service_use_the_one_port(default: Objects):
    (port,) = default.main["ports"]

    assert str(port["containerPort"]) == default.env["CAIRN_HTTP_PORT"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert default.main[probe]["httpGet"]["port"] == port["name"]
    assert default.one("Service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_optional_objects_select_the_operator(chart: Chart, default: Objects):
    assert not default.of("ServiceMonitor") + default.of("NetworkPolicy")

    objects = chart.render(*EVERYTHING, "serviceMonitor.labels.release=prometheus")
    pod = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    policy = objects.one("NetworkPolicy")["spec"]
    monitor = objects.one("ServiceMonitor")

    assert policy["podSelector"]["matchLabels"].items() <= pod.items()
    assert policy["policyTypes"] == ["Ingress"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= objects.one("Service")["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_a_network_policy_may_confine_both_ways(chart: Chart):
    peer = "namespaceSelector.matchLabels.team=monitoring"
    values = (
        "networkPolicy.enabled=true",
        f"networkPolicy.from[0].{peer}",
        "networkPolicy.egress[0].ports[0].port=443",
    )
    spec = chart.render(*values).one("NetworkPolicy")["spec"]

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"][0]["from"] == [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]
    assert spec["egress"] == [{"ports": [{"port": 443}]}]


def test_the_advice_on_hardening_can_be_followed(chart: Chart, tmp_path: Path):
    advice = (ROOT / "SECURITY.md").read_text().partition("## Make it harder")[2]
    values = advice.partition("```yaml\n")[2].partition("```")[0].replace("sha256:…", DIGEST)
    (tmp_path / "values.yaml").write_text(values)

    objects = load(chart.run("template", "cairn", str(CHART), KUBERNETES, f"--values={tmp_path}/values.yaml"))

    wide = {item["metadata"]["name"] for item in objects if item["kind"] == "ClusterRole"}
    assert {name for name in wide if not name.endswith("storage-classes")} == set()
    (policy,) = (item for item in objects if item["kind"] == "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


# ---- CRDs


def test_the_chart_installs_the_crds_of_the_repository(default: Objects):
    crds = [
        load(path.read_text())[0]
        for path in sorted((ROOT / "crds").glob("*.yaml"))
        if path.name != "kustomization.yaml"
    ]
    installed = sorted(deepcopy(default.of("CustomResourceDefinition")), key=lambda crd: crd["metadata"]["name"])

    assert len(installed) == 5
    for crd in installed:
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert installed == crds


def test_crds_need_not_be_kept(chart: Chart):
    crds = chart.render("crds.keep=false").of("CustomResourceDefinition")

    assert [crd["metadata"].get("annotations") for crd in crds] == [None] * 5


def test_crds_need_not_be_installed(chart: Chart):
    assert not chart.render("crds.install=false").of("CustomResourceDefinition")


# ---- uninstall


def test_before_a_deletion_the_operator_is_stopped_and_its_permission_comes_first(default: Objects):
    hooks = [item for item in default.hooks if item["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"]
    weights = {item["kind"]: int(item["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) for item in hooks}

    assert weights == {"Role": -1, "RoleBinding": -1, "Job": 0}
    assert all(
        item["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        for item in hooks
    )


def test_the_hook_ends_before_helm_s_patience(default: Objects):
    assert default.one("Job", "cairn-uninstall")["spec"]["activeDeadlineSeconds"] < 300


@pytest.mark.parametrize("values", [(), ("namespaces={ml,research}",), ("fullnameOverride=other",)])
def test_the_hook_stops_this_operator_and_not_itself(chart: Chart, values: tuple[str, ...]):
    objects = chart.render(*values)
    (deployment,), (job,) = objects.of("Deployment"), objects.of("Job")
    environment = {
        item["name"]: item.get("value") for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    selector = dict(pair.split("=") for pair in given["pods"].split(","))
    (role,) = (role for role in objects.hooks if role["kind"] == "Role")

    assert given["namespace"] == "cairn-system"
    assert [given["deployment"]] == [deployment["metadata"]["name"]] == role["rules"][0]["resourceNames"]
    assert selector == deployment["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert [argument for argument in arguments if "objects-in" in argument] == [
        f"--objects-in={name}" for name in environment["CAIRN_NAMESPACES"].split(",") if name
    ]


# ---- values


@pytest.mark.parametrize(
    "value",
    [
        "namespace=ml",
        "crds.installed=true",
        "crds.keep=perhaps",
        "namespaces=ml",
        "namespaces={ml,ml}",
        "namespaces={Not_a_name}",
        "image.digest=abc",
        "image.tag=a b",
        "image.repository=",
        "image.pullPolicy=Sometimes",
        "log.level=debug",
        "log.format=xml",
        "checkIntervalSeconds=0",
        "insecureRegistries={http://registry}",
        "livenessProbe.periodSecond=1",
        "readinessProbe.periodSeconds=0",
        "resources.request.cpu=1",
        "resources.limits.memory=lots",
        "serviceMonitor.interval=30",
        "tracing.endpoint=collector:4318",
        "commonLabels.a.b=c",
        "extraEnv[0].value=nameless",
        "fullnameOverride=Cairn",
    ],
)
def test_wrong_values_are_refused(chart: Chart, value: str):
    with pytest.raises(RenderError, match="values don't meet the specifications of the schema"):
        chart.render(value)
