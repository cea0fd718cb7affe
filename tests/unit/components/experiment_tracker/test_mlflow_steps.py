"""What steps are given so that MLflow's own client records where it should."""

from __future__ import annotations

import json
from typing import Any

from cairn.components.experiment_tracker.mlflow.config import MLflowConfig
from cairn.components.experiment_tracker.mlflow.tracker import MLflowTracker
from cairn.components.step_access import StepAccess

CONTEXT = {"cairn.run": "wine-1", "cairn.step": "train"}


def tracker(**config: Any) -> MLflowTracker:
    return MLflowTracker("ml", "mlflow", MLflowConfig.model_validate({"uri": "https://mlflow.ml:5000", **config}))


def access(*, record: str | None = "child", parent: str | None = "child", **config: Any) -> StepAccess:
    return tracker(**config).step_access("wine", record, parent, CONTEXT)


def values(found: StepAccess) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in found.env if "value" in variable}


def references(found: StepAccess) -> dict[str, dict[str, str]]:
    return {item["name"]: item["valueFrom"]["secretKeyRef"] for item in found.env if "valueFrom" in item}


def test_a_step_records_into_the_record_of_its_attempt():
    env = values(access())

    assert (env["MLFLOW_TRACKING_URI"], env["MLFLOW_RUN_ID"]) == ("https://mlflow.ml:5000", "child")


def test_what_it_records_besides_is_nested_in_that_in_the_same_experiment():
    assert values(access())["MLFLOW_EXPERIMENT_NAME"] == "wine"
    assert json.loads(values(access())["MLFLOW_RUN_CONTEXT"]) == {**CONTEXT, "mlflow.parentRunId": "child"}


def test_a_step_that_has_no_record_yet_records_anew_in_the_experiment():
    env = values(access(record=None, parent=None))

    assert (env["MLFLOW_EXPERIMENT_NAME"], "MLFLOW_RUN_ID" in env) == ("wine", False)
    assert json.loads(env["MLFLOW_RUN_CONTEXT"]) == CONTEXT


def test_a_server_that_is_away_does_not_keep_a_step_waiting_for_minutes():
    assert values(access())["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"


def test_it_logs_in_with_what_is_in_the_secret_which_nobody_sees():
    basic = access(auth={"basic": {"secretRef": {"name": "login"}}})
    bearer = access(auth={"bearer": {"name": "login", "key": "token"}})

    assert references(basic) == {
        "MLFLOW_TRACKING_USERNAME": {"name": "login", "key": "username"},
        "MLFLOW_TRACKING_PASSWORD": {"name": "login", "key": "password"},
    }
    assert references(bearer) == {"MLFLOW_TRACKING_TOKEN": {"name": "login", "key": "token"}}


def test_it_trusts_the_authority_that_is_named():
    found = access(caSecretRef={"name": "authority", "key": "ca.crt"})

    (volume,), (mount,) = found.volumes, found.volume_mounts
    assert volume["secret"]["secretName"] == "authority"
    assert values(found)["MLFLOW_TRACKING_SERVER_CERT_PATH"] == f"{mount['mountPath']}/ca.crt"


def test_experiments_have_the_prefix_and_links_the_address_for_people():
    flavor = tracker(experimentPrefix="team-a/", externalURL="https://mlflow.example.com")

    assert flavor.experiment_name("wine") == "team-a/wine"
    assert flavor.url_of("7", "abc") == "https://mlflow.example.com/#/experiments/7/runs/abc"
