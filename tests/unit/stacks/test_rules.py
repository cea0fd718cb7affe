from __future__ import annotations

import pytest

from cairn.components.registry import AnyFlavor
from cairn.stacks.rules import incompatibilities
from tests.unit.builders import kubernetes_stack, local_stack, local_store, s3_store

JOBS, ONE_POD = kubernetes_stack().orchestrator, local_stack().orchestrator
SHARED = local_store(claim={"accessMode": "ReadWriteMany"})


@pytest.mark.parametrize(
    "components",
    [[JOBS, s3_store()], [JOBS, SHARED], [ONE_POD, local_store()], [ONE_POD, s3_store()], [JOBS], []],
    ids=["jobs+s3", "jobs+shared claim", "one pod+claim", "one pod+s3", "no store", "nothing"],
)
def test_components_that_fit(components: list[AnyFlavor]):
    assert list(incompatibilities(components)) == []


def test_steps_on_several_nodes_cannot_share_a_claim_of_one_node():
    (message,) = incompatibilities([JOBS, local_store("disk")])

    assert message == (
        "orchestrator kubernetes runs steps on several nodes, but artifact store disk can be used from one node at a time; "
        "use an s3 store, a claim with accessMode ReadWriteMany, or the local orchestrator"
    )
