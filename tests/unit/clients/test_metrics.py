from __future__ import annotations

from cairn.api.base import JsonObject
from cairn.clients.metrics import ReadinessCollector
from tests.unit.builders import BUCKET_SPEC, component_body, stack_body


def samples(components: list[JsonObject], stacks: list[JsonObject]) -> dict[tuple[str, ...], float]:
    metrics = ReadinessCollector(components, stacks).collect()
    return {(item.name, *item.labels.values()): item.value for metric in metrics for item in metric.samples}


def test_readiness_of_components_and_stacks_is_told_as_it_is_when_prometheus_asks():
    ready = component_body("bucket", BUCKET_SPEC, ready=True)
    ready["status"] |= {"type": "artifactStore", "flavor": "s3"}

    assert samples([ready, component_body("new", BUCKET_SPEC)], [stack_body("production")]) == {
        ("cairn_component_ready", "ml", "bucket", "artifactStore", "s3"): 1,
        ("cairn_component_ready", "ml", "new", "", ""): 0,
        ("cairn_stack_ready", "ml", "production"): 0,
    }
