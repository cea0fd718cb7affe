"""Answers requests, a line of JSON each; `tests/kfp/sdk_process.py` asks.

`{"spec": …, "platform": …}` is a document: the answer is what the SDK understands of it, or `refused` with the reason.
`{"written_by_hand": name}` asks for a pipeline of `by_hand.py`: the answer is what the SDK compiles from it.
"""

import json
import sys
import warnings
from typing import Any

import yaml
from google.protobuf import json_format
from google.protobuf.message import Message
from kfp import components
from kfp.dsl.base_component import BaseComponent
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from tests.kfp.oracle import by_hand

Json = dict[str, Any]


def understood(spec: Json, platform: Json) -> Json:
    """Return a document as it is once it has been parsed and loaded. Raises where it is not valid."""
    messages = [json_format.ParseDict(spec, PipelineSpec())]
    if platform:
        messages.append(json_format.ParseDict(platform, PlatformSpec()))
    text = yaml.dump_all([each for each in (spec, platform) if each], Dumper=yaml.CSafeDumper)
    loaded = components.load_component_from_text(text)
    for message, kept in zip(messages, (loaded.pipeline_spec, loaded.platform_spec), strict=False):
        if kept != message:
            raise ValueError(f"the SDK loads {message.DESCRIPTOR.name} as another one: {kept}")
    return described(loaded)


def described(component: BaseComponent) -> Json:
    """Return a component as JSON: its pipeline, and its executors' settings for Kubernetes, which the pipeline has untyped."""
    executors = component.platform_spec.platforms["kubernetes"].deployment_spec.executors
    return {
        "spec": _as_json(component.pipeline_spec),
        "platform": {
            name: _as_json(json_format.ParseDict(json_format.MessageToDict(config), KubernetesExecutorConfig()))
            for name, config in executors.items()
        },
    }


def _as_json(message: Message) -> Json:
    return json_format.MessageToDict(message)


def answer(request: Json) -> Json:
    """Return what is to be said to a request."""
    if "written_by_hand" in request:
        return described(getattr(by_hand, request["written_by_hand"]))
    try:
        return understood(request["spec"], request["platform"])
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises says why it refuses
        return {"refused": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer until there are no more requests."""
    warnings.simplefilter("ignore")
    yaml.SafeLoader = yaml.CSafeLoader  # the SDK reads each document three times
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(answer(json.loads(line)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
