"""The objects of the chart of MLflow: what must hold whatever the values, and what each value does."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from cairn.api.base import JsonObject

from .conftest import CHARTS, Chart, Objects, RenderError

CHART = CHARTS / "mlflow"
POSTGRESQL = ("postgresql.uriSecret.name=db",)
BUCKET = ("artifacts.destination=s3://bucket/prefix", "artifacts.s3.credentialsSecret=s3")
STATELESS = (*POSTGRESQL, *BUCKET)
EVERYTHING = (
    *STATELESS,
    "replicas=3",
    "auth.enabled=true",
    "caBundle.configMap=ca",
    "ingress.enabled=true",
    "ingress.hosts={mlflow.example.com}",
    "httpRoute.enabled=true",
    "httpRoute.hostnames={ml.example.com}",
    "httpRoute.parentRefs[0].name=gateway",
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
    "garbageCollection.enabled=true",
    "extraEnv[0].name=HTTPS_PROXY",
    "extraVolumes[0].name=more",
    "extraVolumeMounts[0].name=more",
    "imagePullSecrets[0].name=registry",
)
MODES = [(), ("auth.enabled=true", "garbageCollection.enabled=true"), POSTGRESQL, BUCKET, STATELESS, EVERYTHING]


@pytest.fixture(scope="session")
def chart(mlflow: Chart) -> Chart:
    return mlflow


def arguments(objects: Objects) -> dict[str, str]:
    pairs = (argument.removeprefix("--").partition("=") for argument in objects.main["args"])
    return {name: value for name, _, value in pairs}


def references(container: JsonObject) -> set[tuple[str, str]]:
    """Return the Secrets that a container's environment refers to, with their keys."""
    sources = (variable.get("valueFrom", {}).get("secretKeyRef") for variable in container["env"])
    return {(source["name"], source["key"]) for source in sources if source}


@pytest.mark.parametrize("values", MODES)
def test_lint_finds_nothing(chart: Chart, values: tuple[str, ...]):
    chart.lint(*values)


def test_the_version_of_the_app_is_the_image_s():
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHART / "image/pyproject.toml").read_text())["project"]

    assert f"mlflow[auth]=={metadata['appVersion']}" in project["dependencies"]


def test_what_makes_the_image_is_not_in_the_chart(chart: Chart, tmp_path: str):
    chart.run("package", str(CHART), f"--destination={tmp_path}")

    assert "image/" in (CHART / ".helmignore").read_text().splitlines()


@pytest.mark.parametrize("values", MODES)
def test_pods_satisfy_pod_security_restricted_and_have_no_token(chart: Chart, values: tuple[str, ...]):
    pods = list(chart.render(*values).pods)

    assert len(pods) >= 2
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert isinstance(pod["securityContext"]["runAsUser"], int)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", MODES)
def test_no_secret_is_an_argument_or_a_value(chart: Chart, values: tuple[str, ...]):
    for pod in chart.render(*values).pods:
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            secret = [item for item in container["env"] if "PASSWORD" in item["name"] or "SECRET" in item["name"]]
            assert all("valueFrom" in item for item in secret)
            assert "postgresql" not in str(container.get("args"))


# ---- the database


def test_sqlite_is_on_a_volume_that_one_server_has_at_a_time(default: Objects):
    deployment = default.one("Deployment")["spec"]
    (migrate,) = deployment["template"]["spec"]["initContainers"]

    assert deployment["strategy"] == {"type": "Recreate"}
    assert default.env["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////mlflow/mlflow.db"
    assert {"name": "data", "mountPath": "/mlflow"} in default.main["volumeMounts"]
    assert {"name": "data", "mountPath": "/mlflow"} in migrate["volumeMounts"]
    assert default.one("PersistentVolumeClaim", "mlflow")


def test_the_claim_stays_unless_told_otherwise(chart: Chart, default: Objects):
    gone = chart.render("volume.keep=false").one("PersistentVolumeClaim")

    assert default.one("PersistentVolumeClaim")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in gone["metadata"]


def test_a_claim_that_exists_is_used_and_none_is_made(chart: Chart):
    objects = chart.render("volume.existingClaim=mine")
    volumes = objects.one("Deployment")["spec"]["template"]["spec"]["volumes"]

    assert not objects.of("PersistentVolumeClaim")
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_with_postgresql_a_job_migrates_before_servers_are_replaced_without_a_gap(chart: Chart):
    objects = chart.render(*STATELESS)
    deployment, job = objects.one("Deployment")["spec"], objects.one("Job")

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert references(job["spec"]["template"]["spec"]["containers"][0]) == {("db", "uri")}
    assert "initContainers" not in deployment["template"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert not objects.of("PersistentVolumeClaim")


def test_migration_can_be_left_to_somebody_else(chart: Chart):
    sqlite, postgresql = chart.render("migration.enabled=false"), chart.render(*POSTGRESQL, "migration.enabled=false")

    assert "initContainers" not in sqlite.one("Deployment")["spec"]["template"]["spec"]
    assert not postgresql.of("Job")


@pytest.mark.parametrize("values", [(), POSTGRESQL, BUCKET])
def test_several_servers_cannot_share_a_volume(chart: Chart, values: tuple[str, ...]):
    with pytest.raises(RenderError, match="more than one needs a PostgreSQL database"):
        chart.render(*values, "replicas=2")


def test_several_servers_have_a_disruption_budget(chart: Chart):
    budget = chart.render(*STATELESS, "replicas=2").one("PodDisruptionBudget")["spec"]

    assert budget["maxUnavailable"] == 1
    assert not chart.render(*STATELESS).of("PodDisruptionBudget")


# ---- artifacts


def test_artifacts_are_on_the_volume_unless_there_is_a_bucket(default: Objects):
    assert arguments(default)["artifacts-destination"] == "/mlflow/artifacts"


def test_the_server_passes_artifacts_on_to_the_bucket(chart: Chart):
    objects = chart.render(
        *BUCKET, "artifacts.s3.endpoint=http://s3:7070", "artifacts.s3.region=eu-1", "artifacts.s3.addressingStyle=path"
    )

    assert arguments(objects)["artifacts-destination"] == "s3://bucket/prefix"
    assert references(objects.main) >= {("s3", "AWS_ACCESS_KEY_ID"), ("s3", "AWS_SECRET_ACCESS_KEY")}
    assert objects.env["MLFLOW_S3_ENDPOINT_URL"] == objects.env["AWS_ENDPOINT_URL_S3"] == "http://s3:7070"
    assert objects.env["AWS_DEFAULT_REGION"] == "eu-1"
    assert objects.env["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == "path"
    assert objects.env["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"


def test_clients_go_to_the_bucket_themselves(chart: Chart):
    given = arguments(chart.render(*BUCKET, "artifacts.access=Direct"))

    assert given["default-artifact-root"] == "s3://bucket/prefix"
    assert "no-serve-artifacts" in given
    assert "artifacts-destination" not in given


def test_clients_cannot_go_to_a_volume(chart: Chart):
    with pytest.raises(RenderError, match="Direct needs a bucket"):
        chart.render("artifacts.access=Direct")


def test_the_server_may_have_a_cloud_s_identity(chart: Chart):
    objects = chart.render("serviceAccount.annotations.role=mlflow", "artifacts.destination=s3://bucket")

    assert objects.one("ServiceAccount")["metadata"]["annotations"] == {"role": "mlflow"}
    assert "AWS_ACCESS_KEY_ID" not in objects.env


# ---- who may ask


def test_the_server_answers_to_each_name_of_its_service_and_to_its_own_address(default: Objects):
    hosts = arguments(default)["allowed-hosts"].split(",")

    for name in ("mlflow", "mlflow.ml", "mlflow.ml.svc", "mlflow.ml.svc.cluster.local", "localhost", "$(POD_IP)"):
        assert {name, f"{name}:*"} <= set(hosts)
    assert "*" not in hosts


def test_and_to_those_of_its_ingress_and_route_and_to_what_is_given(chart: Chart):
    hosts = arguments(chart.render(*EVERYTHING, "server.allowedHosts={proxy.example.com}"))["allowed-hosts"].split(",")

    assert {"mlflow.example.com", "ml.example.com", "proxy.example.com"} <= set(hosts)


def test_without_log_ins_there_is_no_secret(default: Objects):
    assert not default.of("Secret")
    assert "app-name" not in arguments(default)


def test_the_first_user_is_in_a_secret_that_stays_with_the_data(chart: Chart):
    objects = chart.render("auth.enabled=true")
    secret = objects.one("Secret")

    assert arguments(objects)["app-name"] == "basic-auth"
    assert set(secret["data"]) == {"username", "password", "flask-secret-key"}
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert {("mlflow-auth", key) for key in secret["data"]} <= references(objects.main)


def test_or_in_one_that_exists(chart: Chart):
    objects = chart.render("auth.enabled=true", "auth.existingSecret=mine")

    assert not objects.of("Secret")
    assert ("mine", "password") in references(objects.main)


def test_probes_ask_under_the_prefix(chart: Chart):
    server = chart.render("server.staticPrefix=/mlflow/").main

    assert server["livenessProbe"]["httpGet"]["path"] == "/mlflow/health"
    assert server["readinessProbe"]["exec"]["command"][-2:] == ["/opt/mlflow/ready.py", "/mlflow"]


# ---- what stands around it


@pytest.mark.parametrize("kind", ["Ingress", "HTTPRoute", "NetworkPolicy", "ServiceMonitor", "CronJob"])
def test_what_is_not_asked_for_is_not_made(chart: Chart, default: Objects, kind: str):
    assert not default.of(kind)
    assert len(chart.render(*EVERYTHING).of(kind)) == 1


def test_everything_selects_the_server_and_nothing_else(chart: Chart):
    objects = chart.render(*EVERYTHING)
    labels = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    job = objects.one("Job")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        objects.one("Service")["spec"]["selector"],
        objects.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        objects.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]

    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= job.items()


def test_prometheus_logs_in_where_users_do(chart: Chart):
    (endpoint,) = chart.render(*EVERYTHING).one("ServiceMonitor")["spec"]["endpoints"]

    assert endpoint["basicAuth"]["password"] == {"name": "mlflow-auth", "key": "password"}


def test_the_certificates_are_those_of_all_libraries(chart: Chart):
    env = chart.render("caBundle.configMap=ca").env

    assert env["SSL_CERT_FILE"] == env["REQUESTS_CA_BUNDLE"] == env["AWS_CA_BUNDLE"] == "/etc/mlflow-ca/ca.crt"


def test_garbage_of_a_volume_is_collected_on_its_node(chart: Chart):
    (pod,) = (
        item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        for item in chart.render("garbageCollection.enabled=true").of("CronJob")
    )
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert term["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"


# ---- values


@pytest.mark.parametrize(
    "value",
    [
        "replica=1",
        "replicas=-1",
        "image.digest=abc",
        "artifacts.destination=bucket",
        "artifacts.access=direct",
        "artifacts.s3.endpoint=s3:7070",
        "artifacts.s3.addressingStyle=Path",
        "auth.defaultPermission=ALL",
        "volume.size=big",
        "volume.accessMode=ReadOnlyMany",
        "server.staticPrefix=mlflow",
        "server.corsAllowedOrigins={example.com}",
        "ingress.enabled=true",
        "httpRoute.enabled=true",
        "garbageCollection.olderThan=month",
        "service.port=0",
        "livenessProbe.periodSecond=1",
    ],
)
def test_wrong_values_are_refused(chart: Chart, value: str):
    with pytest.raises(RenderError, match="values don't meet the specifications of the schema"):
        chart.render(value)
