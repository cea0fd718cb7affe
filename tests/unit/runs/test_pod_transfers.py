"""What moves artifacts in a step's pod, and with which rights."""

from __future__ import annotations

import json

from cairn.runs.pod import PLAN_VARIABLE
from cairn.step.plan import parse_fetch, parse_publish
from tests.unit.builders import (
    inputs,
    kubernetes_stack,
    local_stack,
    outputs,
    pod_context,
    s3_store,
    step,
    template,
)
from tests.unit.runs.built_pods import LOAD, TRAIN, containers, own, plan, pod_of, variables


class TestTransfers:
    def test_fetch_gets_what_the_store_has_kept(self):
        fetch = containers(pod_of(pod_context(kept=[("load", "dataset")]), TRAIN))["cairn-fetch"]

        assert plan(fetch)["artifacts"] == [
            {
                "name": "dataset",
                "uri": "s3://ml-artifacts/kept/load/dataset",
                "digest": "sha256:abc",
                "path": "/cairn/work/inputs/train/dataset",
            }
        ]

    def test_an_input_by_uri_is_fetched_without_a_digest(self):
        reader = step("only", inputs=inputs(raw="s3://ml-artifacts/raw.csv"))

        (item,) = plan(containers(pod_of(pod_context(), reader))["cairn-fetch"])["artifacts"]

        assert item == {"name": "raw", "uri": "s3://ml-artifacts/raw.csv", "path": "/cairn/work/inputs/only/raw"}

    def test_publish_is_told_where_to_keep_what(self):
        publish = containers(pod_of(pod_context(), LOAD))["cairn-publish"]

        assert plan(publish)["artifacts"] == [
            {
                "name": "dataset",
                "uri": "s3://ml-artifacts/cairn/ml/wine/wine-1/load/dataset",
                "path": "/cairn/work/outputs/load/0/dataset",
                "declaredPath": "/out/dataset",
            }
        ]

    def test_the_plans_are_ones_that_the_step_s_side_understands(self):
        pod = pod_of(pod_context(local_stack()), LOAD, step("eval", outputs=outputs(results=["x"])), step("z"))
        chain = containers(pod)
        fetching = containers(pod_of(pod_context(kept=[("load", "dataset")]), TRAIN))["cairn-fetch"]

        assert parse_publish(json.dumps(plan(chain["cairn-publish-0"]))).artifacts[0].name == "dataset"
        assert parse_publish(json.dumps(plan(chain["cairn-publish-1"]))).results_path is not None
        assert parse_fetch(json.dumps(plan(fetching))).artifacts[0].digest == "sha256:abc"

    def test_a_plan_with_dollars_survives_kubernetes(self):
        reader = step("only", inputs=inputs(raw="s3://ml-artifacts/$(HOME)/$$x"))

        written = variables(containers(pod_of(pod_context(), reader))["cairn-fetch"])[PLAN_VARIABLE]

        assert "$$(HOME)/$$$$x" in written

    def test_an_input_made_in_the_same_pod_is_mounted_and_not_fetched(self):
        chain = containers(pod_of(pod_context(local_stack()), LOAD, TRAIN))

        published = plan(chain["cairn-publish-0"])["artifacts"][0]["path"]
        (mount,) = [mount for mount in chain["train"]["volumeMounts"] if mount["mountPath"] == "/in/dataset"]
        assert "cairn-fetch-1" not in chain
        assert published == f"/cairn/work/{mount['subPath']}"
        assert mount["readOnly"] is True

    def test_an_input_of_an_earlier_pod_is_fetched(self):
        chain = containers(pod_of(pod_context(local_stack(), kept=[("load", "dataset")]), step("first"), TRAIN))

        assert list(chain) == ["first", "cairn-fetch-1", "train", "cairn-publish-1"]

    def test_a_step_sees_its_files_where_transfers_put_and_take_them(self):
        many = step(
            "many",
            inputs=inputs(a="load.dataset", b="s3://ml-artifacts/raw"),
            outputs={
                "artifacts": [
                    {"name": "x", "path": "/out/deep/er/x"},
                    {"name": "y", "path": "/out/y"},
                    {"name": "z", "path": "/out/deep/er/z"},
                ]
            },
        )
        chain = containers(pod_of(pod_context(kept=[("load", "dataset")]), many))
        mounts = {mount["mountPath"]: f"/cairn/work/{mount['subPath']}" for mount in chain["many"]["volumeMounts"]}

        for item in plan(chain["cairn-fetch"])["artifacts"]:
            assert mounts[f"/in/{item['name']}"] == item["path"]
        for item in plan(chain["cairn-publish"])["artifacts"]:
            directory, _, name = item["declaredPath"].rpartition("/")
            assert f"{mounts[directory]}/{name}" == item["path"]

    def test_directories_of_outputs_are_mounted_before_what_lies_in_them(self):
        nested = step(
            "only",
            outputs={"artifacts": [{"name": "in", "path": "/out/sub/dir/in"}, {"name": "out", "path": "/out/sub/out"}]},
        )

        mounts = [mount["mountPath"] for mount in own(pod_of(pod_context(), nested))["volumeMounts"]]

        assert mounts == ["/out/sub", "/out/sub/dir"]

    def test_two_steps_of_a_pod_never_share_a_directory(self):
        chain = containers(
            pod_of(pod_context(local_stack()), step("a", outputs=outputs("x")), step("b", outputs=outputs("x")))
        )

        paths = [mount["subPath"] for name in ("a", "b") for mount in chain[name]["volumeMounts"]]

        assert len(set(paths)) == len(paths) == 2

    def test_a_local_run_s_volume_has_the_size_that_the_orchestrator_says(self):
        pod = pod_of(pod_context(local_stack(orchestrator={"workspaceSize": "3Gi"})), LOAD)

        assert {"name": "cairn-work", "emptyDir": {"sizeLimit": "3Gi"}} in pod["spec"]["volumes"]


class TestCredentials:
    def test_only_transfers_see_the_store_s_credentials(self):
        stack = kubernetes_stack(store=s3_store(endpoint="https://s3", caSecretRef={"name": "ca", "key": "ca.crt"}))
        chain = containers(pod_of(pod_context(stack, kept=[("load", "dataset")]), TRAIN))

        assert "s3-credentials" not in json.dumps(chain["train"])
        assert "cairn-store-ca" not in json.dumps(chain["train"])
        for name in ("cairn-fetch", "cairn-publish"):
            assert "AWS_SECRET_ACCESS_KEY" in variables(chain[name])
            assert "cairn-store-ca" in [mount["name"] for mount in chain[name]["volumeMounts"]]

    def test_credentials_are_named_and_never_written_down(self):
        fetch = containers(pod_of(pod_context(kept=[("load", "dataset")]), TRAIN))["cairn-fetch"]

        (secret,) = [item for item in fetch["env"] if item["name"] == "AWS_SECRET_ACCESS_KEY"]

        assert secret["valueFrom"]["secretKeyRef"] == {"name": "s3-credentials", "key": "AWS_SECRET_ACCESS_KEY"}
        assert "credentials" not in json.dumps(plan(fetch))

    def test_a_pod_gets_no_token_for_the_kubernetes_api_unless_it_asks(self):
        asking = step("only", podTemplate=template(automountServiceAccountToken=True))

        assert pod_of(pod_context(), step("only"))["spec"]["automountServiceAccountToken"] is False
        assert pod_of(pod_context(), asking)["spec"]["automountServiceAccountToken"] is True

    def test_the_store_s_service_account_is_for_pods_that_move_artifacts(self):
        stack = kubernetes_stack(store=s3_store(credentialsSecretRef=None, serviceAccountName="irsa"))

        assert pod_of(pod_context(stack), LOAD)["spec"]["serviceAccountName"] == "irsa"
        assert "serviceAccountName" not in pod_of(pod_context(stack), step("only"))["spec"]

    def test_a_step_s_own_service_account_wins(self):
        stack = kubernetes_stack(store=s3_store(credentialsSecretRef=None, serviceAccountName="irsa"))
        mine = step("load", outputs=outputs("dataset"), podTemplate=template(serviceAccountName="mine"))

        assert pod_of(pod_context(stack), mine)["spec"]["serviceAccountName"] == "mine"


class TestSecurity:
    def test_every_pod_is_restricted(self):
        pod = pod_of(pod_context(kept=[("load", "dataset")]), TRAIN)

        assert pod["spec"]["securityContext"] | {"fsGroupChangePolicy": ""} == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in containers(pod).values():
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}

    def test_transfers_have_a_read_only_root(self):
        fetch = containers(pod_of(pod_context(kept=[("load", "dataset")]), TRAIN))["cairn-fetch"]

        assert fetch["securityContext"]["readOnlyRootFilesystem"] is True

    def test_what_an_author_asks_for_is_merged_over_that(self):
        asking = step(
            "only",
            podTemplate=template(
                securityContext={"runAsUser": 1000},
                containerSecurityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}},
            ),
        )
        pod = pod_of(pod_context(), asking)

        assert pod["spec"]["securityContext"]["runAsUser"] == 1000
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert own(pod)["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}

    def test_transfers_run_as_the_step_s_user_and_with_nothing_else_of_its_rights(self):
        root = step(
            "load",
            outputs=outputs("dataset"),
            podTemplate=template(containerSecurityContext={"runAsUser": 0, "runAsNonRoot": False, "privileged": True}),
        )

        security = containers(pod_of(pod_context(), root))["cairn-publish"]["securityContext"]

        assert (security["runAsUser"], security["runAsNonRoot"]) == (0, False)
        assert "privileged" not in security
