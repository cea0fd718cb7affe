"""What a seed stands for: a run, how its attempts behave, and what goes wrong around it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cairn.api.pipelinerun import PipelineRunSpec
from tests.simulation.api_server import Faults
from tests.unit.builders import run_spec, step

MOST_STEPS = 6
ORCHESTRATORS = ("jobs", "pods", "laptop")
"""A Job for each step, a pod for each, and one pod for all of them."""


class Behaviour(Enum):
    """What an attempt would do if it were left alone."""

    SUCCEEDS = "succeeds"
    EXITS = "exits with 3"
    OUT_OF_MEMORY = "is killed for its memory"
    HANGS = "never ends"
    NO_IMAGE = "has an image that cannot be pulled"
    NO_NODE = "fits on no node"


@dataclass
class Scenario:
    """Everything that is drawn from a seed before the simulation starts."""

    spec: PipelineRunSpec
    orchestrator: str
    faults: Faults
    operators: int
    cancel_after: int | None
    """After how many turns the run is cancelled."""
    cancel: str
    suspended_turns: range
    evictions: float
    deletions: float
    lost_nodes: float
    clock_steps: float
    gaps: float
    ignores_sigterm: bool
    _dice: random.Random = field(repr=False, default_factory=random.Random)
    _behaviours: dict[tuple[str, int], Behaviour] = field(default_factory=dict[tuple[str, int], Behaviour])

    def behaviour(self, name: str, number: int) -> Behaviour:
        """Return what an attempt would do: the same each time it is asked for."""
        if (name, number) not in self._behaviours:
            self._behaviours[name, number] = self._draw(name)
        return self._behaviours[name, number]

    def _draw(self, name: str) -> Behaviour:
        declared = next(item for item in self.spec.steps if item.name == name)
        ends = declared.timeout_seconds is not None or self.spec.timeout_seconds is not None
        return self._dice.choices(list(Behaviour), weights=(12, 4, 1, 2 if ends else 0, 1, 1))[0]


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(seed)
    spec = _spec(dice)
    calm = dice.random() < 0.2
    return Scenario(
        spec=spec,
        orchestrator=dice.choice(ORCHESTRATORS),
        faults=Faults() if calm else Faults(crash=dice.choice((0, 0.02, 0.1)), error=dice.choice((0, 0.05, 0.2))),
        operators=2 if not calm and dice.random() < 0.1 else 1,
        cancel_after=dice.randrange(60) if dice.random() < 0.25 else None,
        cancel=dice.choice(("Graceful", "Immediate")),
        suspended_turns=_some_turns(dice) if dice.random() < 0.15 else range(0),
        evictions=0 if calm else dice.choice((0, 0, 0.02, 0.1)),
        deletions=0 if calm else dice.choice((0, 0, 0.02, 0.1)),
        lost_nodes=0 if calm else dice.choice((0, 0, 0.02)),
        clock_steps=0 if calm else dice.choice((0, 0, 0.02)),
        gaps=0 if calm else dice.choice((0, 0.02, 0.1)),
        ignores_sigterm=dice.random() < 0.2,
        _dice=dice,
    )


def _some_turns(dice: random.Random) -> range:
    first = dice.randrange(40)
    return range(first, first + dice.randrange(1, 40))


def _spec(dice: random.Random) -> PipelineRunSpec:
    count = dice.randint(1, MOST_STEPS)
    names = [f"s{index}" for index in range(count)]
    steps = [step(name, **_step_fields(dice, names[:index])) for index, name in enumerate(names)]
    dice.shuffle(steps)
    fields: dict[str, Any] = {"failurePolicy": dice.choice(("ContinueOnFailure", "StopOnFailure", "FailFast"))}
    if dice.random() < 0.2:
        fields["timeoutSeconds"] = dice.choice((10, 60, 300))
    if dice.random() < 0.3:
        fields["maxParallelSteps"] = dice.randint(1, 3)
    return run_spec(*steps, **fields)


def _step_fields(dice: random.Random, earlier: list[str]) -> Mapping[str, Any]:
    fields: dict[str, Any] = {"pendingTimeoutSeconds": dice.choice((5, 60, 600))}
    needed = [name for name in earlier if dice.random() < 0.35]
    if needed:
        fields["dependsOn"] = needed
    if dice.random() < 0.3:
        fields["timeoutSeconds"] = dice.choice((5, 30, 120))
    if dice.random() < 0.6:
        fields["retry"] = {
            "limit": dice.randint(0, 3),
            "on": dice.choice(("Failure", "Always")),
            "backoffSeconds": dice.choice((0, 1, 5, 60)),
            "backoffFactor": dice.randint(1, 3),
            "maxBackoffSeconds": dice.choice((5, 100)),
            "disruptionLimit": dice.randint(0, 3),
        }
    return fields
