"""What a seed stands for: a run, how its attempts behave, and what goes wrong around it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cairn.api.for_each import ForEach
from cairn.api.pipelinerun import RunSpec
from cairn.api.step import Cache, Outputs, Step
from tests.simulation.api_server import Faults
from tests.unit.builders import run_spec, step

MOST_STEPS = 6
ORCHESTRATORS = ("jobs", "pods", "laptop")
"""A Job for each step, a pod for each, and one pod for all of them."""


RESULT = "items"
"""Result that a step writes whose items another one is for."""


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

    spec: RunSpec
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

    def results(self, name: str) -> str:
        """Return what a step writes as its results when it succeeds."""
        declared = self.spec_of(name).outputs
        return json.dumps({RESULT: list("abc"[: len(self.spec.steps) % 4])}) if declared else ""

    def spec_of(self, name: str) -> Step:
        """Return a step as it is written."""
        index = name.rsplit("-", 1)[0]
        return next(item for item in self.spec.all_steps if item.name in {name, index})

    def _draw(self, name: str) -> Behaviour:
        declared = self.spec_of(name)
        ends = declared.timeout_seconds is not None or self.spec.timeout_seconds is not None
        return self._dice.choices(list(Behaviour), weights=(12, 4, 1, 2 if ends else 0, 1, 1))[0]


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(seed)
    orchestrator = dice.choice(ORCHESTRATORS)
    spec = _some_cached(random.Random(f"cache of {seed}"), _spec(dice, writes_results=orchestrator != "laptop"))
    calm = dice.random() < 0.2
    return Scenario(
        spec=spec,
        orchestrator=orchestrator,
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


def _spec(dice: random.Random, *, writes_results: bool) -> RunSpec:
    count = dice.randint(1, MOST_STEPS)
    names = [f"s{index}" for index in range(count)]
    flows = dice.random() < 0.5
    steps = [
        step(name, **{**(needs := _step_fields(dice, names[:index])), **(_flow(dice, needs) if flows else {})})
        for index, name in enumerate(names)
    ]
    if flows and writes_results and len(steps) > 1:
        steps[0] = steps[0].model_copy(update={"outputs": Outputs(results=(RESULT,))})
        each = ForEach(items_from=f"steps.s0.results.{RESULT}")
        steps[-1] = steps[-1].model_copy(update={"for_each": each})
    dice.shuffle(steps)
    last = [step(f"f{index}", **_last_fields(dice, index)) for index in range(dice.choice((0, 1, 2)) if flows else 0)]
    fields: dict[str, Any] = {
        "finally": last,
        "failurePolicy": dice.choice(("ContinueOnFailure", "StopOnFailure", "FailFast")),
    }
    if dice.random() < 0.2:
        fields["timeoutSeconds"] = dice.choice((10, 60, 300))
    if dice.random() < 0.3:
        fields["maxParallelSteps"] = dice.randint(1, 3)
    return run_spec(*steps, **fields)


def _some_cached(dice: random.Random, spec: RunSpec) -> RunSpec:
    """Return the run with some steps that may be left out; what that draws changes nothing else of a seed."""
    if dice.random() < 0.6:
        return spec
    steps = [
        item.model_copy(update={"cache": Cache(salt=str(dice.randrange(8)))}) if dice.random() < 0.5 else item
        for item in spec.steps
    ]
    return spec.model_copy(update={"steps": tuple(steps)})


def _flow(dice: random.Random, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return on what it depends whether a step runs, and how often."""
    of_needed = [f"steps.{name}.state == 'Succeeded'" for name in fields.get("dependsOn", ())]
    drawn = dice.random()
    if drawn < 0.2:
        items = list("abc"[: dice.randint(0, 3)])
        return {"forEach": {"items": items}, "when": dice.choice(("true", "item.index != 1", "item.value == 'a'"))}
    if drawn < 0.5:
        return {"when": dice.choice(("true", "false", *of_needed))}
    return {}


def _last_fields(dice: random.Random, index: int) -> Mapping[str, Any]:
    """Return what a step of `finally` is like."""
    fields: dict[str, Any] = {**_step_fields(dice, ["f0"][:index]), "timeoutSeconds": 30}
    if dice.random() < 0.5:
        fields["when"] = dice.choice(
            ("run.state == 'Failed'", "run.state != 'Succeeded'", "steps.s0.state != 'Failed'")
        )
    return fields


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
