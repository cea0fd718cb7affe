"""What the pods of instances are made of, and of what reads their artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cairn.api.base import JsonObject
from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import StepStatus
from cairn.api.step import Step
from cairn.runs.gathering import artifacts_by_step
from cairn.runs.pod import PLAN_VARIABLE, Attempt, build_pod
from cairn.runs.references import unescaped
from cairn.step.plan import parse_fetch
from tests.unit.builders import inputs, local_stack, outputs, pod_context, run_spec, run_steps, step, step_status

READER = step("report", inputs=inputs(models="train.model"))


def train(*items: str, **fields: Any) -> Step:
    return step("train", forEach={"items": items}, **fields)


def containers_of(spec: RunSpec, name: str, recorded: Mapping[str, StepStatus] | None = None):
    """Return the containers of a step's pod by name."""
    steps = run_steps(spec, recorded)
    context = replace(pod_context(), artifacts=artifacts_by_step(steps, recorded or {}))
    pod = build_pod(context, [Attempt(steps.by_name[name], 1)])
    return by_name(pod)


def by_name(pod: JsonObject) -> dict[str, JsonObject]:
    return {item["name"]: item for item in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])}


def variables(container: JsonObject) -> dict[str, str]:
    return {item["name"]: item.get("value") for item in container["env"]}


def plan_of(container: JsonObject) -> str:
    return unescaped(variables(container)[PLAN_VARIABLE])


def kept(name: str) -> StepStatus:
    artifact = {
        "name": "model",
        "uri": f"s3://ml-artifacts/cairn/ml/wine/wine-1/{name}/model",
        "digest": f"sha256:{'0' * 64}",
        "sizeBytes": 1,
    }
    return step_status(name, "Succeeded", artifacts=[artifact])


class TestItem:
    def test_references_stand_for_the_instance_s_own(self):
        spec = run_spec(train("eu", "us", command=["run", "$(item.index)"], args=["--region=$(item.value)"]))

        container = containers_of(spec, "train-1")["train-1"]

        assert (container["command"], container["args"]) == (["run", "1"], ["--region=us"])

    def test_the_environment_has_it(self):
        own = {"env": [{"name": "REGION", "value": "region-$(item.value)"}]}

        found = variables(containers_of(run_spec(train("eu", "us", **own)), "train-1")["train-1"])

        assert (found["CAIRN_ITEM"], found["CAIRN_ITEM_INDEX"], found["REGION"]) == ("us", "1", "region-us")

    def test_a_script_reads_it_from_the_environment(self):
        spec = run_spec(train("eu", script="print('$(item.value)')"))

        container = containers_of(spec, "train-0")["train-0"]

        assert unescaped(container["args"][0]) == "print('$(item.value)')"
        assert variables(container)["CAIRN_ITEM"] == "eu"

    def test_an_escaped_reference_is_left_to_kubernetes(self):
        spec = run_spec(train("eu", args=["$$(item.value)", "$$(item.index)"]))

        assert containers_of(spec, "train-0")["train-0"]["args"] == ["$$(item.value)", "$$(item.index)"]

    @pytest.mark.parametrize("item", ["$(HOME)", "$$", "$(params.x)", "$(item.index)"])
    def test_an_item_with_dollars_survives_kubernetes(self, item: str):
        container = containers_of(run_spec(train(item, args=["$(item.value)"])), "train-0")["train-0"]

        assert container["args"] == [item.replace("$", "$$")]
        assert variables(container)["CAIRN_ITEM"] == item.replace("$", "$$")

    def test_a_step_without_for_each_has_none(self):
        assert not {"CAIRN_ITEM", "CAIRN_ITEM_INDEX"} & variables(containers_of(run_spec(), "only")["only"]).keys()

    def test_an_instance_is_the_step_that_it_calls_itself(self):
        assert variables(containers_of(run_spec(train("eu")), "train-0")["train-0"])["CAIRN_STEP"] == "train-0"

    def test_instances_that_share_a_pod_have_each_its_own(self):
        steps = run_steps(run_spec(train("eu", "us")))
        attempts = [Attempt(steps.by_name[name], 1) for name in ("train-0", "train-1")]

        chain = by_name(build_pod(pod_context(local_stack()), attempts))

        assert [variables(chain[name])["CAIRN_ITEM"] for name in ("train-0", "train-1")] == ["eu", "us"]


class TestArtifacts:
    def test_an_instance_keeps_its_own(self):
        publish = containers_of(run_spec(train("eu", "us", outputs=outputs("model"))), "train-1")["cairn-publish"]

        (artifact,) = json.loads(plan_of(publish))["artifacts"]

        assert artifact["uri"] == "s3://ml-artifacts/cairn/ml/wine/wine-1/train-1/model"

    def test_those_of_instances_are_fetched_below_their_index(self):
        spec = run_spec(train("eu", "us", "uk", outputs=outputs("model")), READER)
        recorded = {
            "train-0": kept("train-0"),
            "train-1": step_status("train-1", "Skipped", reason="WhenFalse"),
            "train-2": kept("train-2"),
        }

        fetch = parse_fetch(plan_of(containers_of(spec, "report", recorded)["cairn-fetch"]))

        assert [(item.uri.split("/")[-2], str(item.path)) for item in fetch.artifacts] == [
            ("train-0", "/cairn/work/inputs/report/models/0"),
            ("train-2", "/cairn/work/inputs/report/models/2"),
        ]

    def test_the_step_sees_the_directory_that_holds_them(self):
        spec = run_spec(train("eu", outputs=outputs("model")), READER)

        (mount,) = containers_of(spec, "report", {"train-0": kept("train-0")})["report"]["volumeMounts"]

        assert (mount["mountPath"], mount["subPath"]) == ("/in/models", "inputs/report/models")
        assert mount["readOnly"] is True

    def test_of_no_instances_there_is_nothing_to_fetch_and_the_directory_is_there_all_the_same(self):
        spec = run_spec(train(outputs=outputs("model")), READER)

        chain = containers_of(spec, "report", {"train": step_status("train", "Succeeded", reason="NoItems")})

        assert parse_fetch(plan_of(chain["cairn-fetch"])).artifacts == ()
        assert [mount["mountPath"] for mount in chain["report"]["volumeMounts"]] == ["/in/models"]

    def test_a_plan_that_is_too_long_for_a_variable_goes_on_in_others(self):
        spec = run_spec(train(*(str(index) for index in range(1000)), outputs=outputs("model")), READER)
        recorded = {f"train-{index}": kept(f"train-{index}") for index in range(1000)}

        found = variables(containers_of(spec, "report", recorded)["cairn-fetch"])

        parts = [found[name] for name in (PLAN_VARIABLE, f"{PLAN_VARIABLE}_1", f"{PLAN_VARIABLE}_2") if name in found]
        assert all(len(part) < 128 * 1024 - 64 for part in parts)
        assert len(parse_fetch("".join(map(unescaped, parts))).artifacts) == 1000
