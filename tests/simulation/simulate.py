"""Runs the reconciler against a cluster in which everything that can go wrong does, from a seed.

    python -m tests.simulation 0 2000          # simulate the seeds from 0 up to 2000
    python -m tests.simulation 137             # simulate one, and print what happens

Same seed, same simulation. Time is virtual.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from cairn.api.base import JsonObject
from cairn.api.workloads import pod_has_ended
from cairn.clients.kubernetes import JOBS, PIPELINE_RUNS, PODS, STACK_COMPONENTS, STACKS
from cairn.runs.observation import has_ended
from tests.simulation.api_server import SimulatedApiServer
from tests.simulation.clock import SimulatedClock
from tests.simulation.invariants import Invariants, Violation
from tests.simulation.nodes import Nodes
from tests.simulation.operator_process import OperatorProcess
from tests.simulation.scenario import Scenario, scenario
from tests.unit.builders import (
    BUCKET_SPEC,
    JOBS_SPEC,
    LAPTOP_SPEC,
    NAMESPACE,
    PODS_SPEC,
    RUN,
    component_body,
    run_body,
    stack_body,
)

TROUBLED_TURNS = 150
"""How many turns things go wrong; after that the run must come to its end."""
MOST_TURNS = 40_000
KEY = (NAMESPACE, RUN.name)

Tell = Callable[[str], None]


class Simulation:
    """One scenario, turn by turn."""

    def __init__(self, seed: int, tell: Tell = lambda _: None) -> None:
        self.scenario: Scenario = scenario(seed)
        self._tell = tell
        self._dice = random.Random(seed + 1)
        self._clock = SimulatedClock()
        self._server = SimulatedApiServer(self._clock, self._dice, self.scenario.faults)
        self._nodes = Nodes(self._server, self._clock, self._dice, self.scenario)
        limit = 1 if self.scenario.orchestrator == "laptop" else 50
        spec = self.scenario.spec
        self._invariants = Invariants(
            RUN, spec, min(limit, spec.max_parallel_steps or limit), self._nodes.truth, self._server.history.kept
        )
        self._told_writes = self._told_made = self._told_deletions = 0

    async def run(self) -> None:
        """Simulate until nothing moves any more; raises Violation."""
        self._prepare()
        operators = [
            OperatorProcess(self._server, self._clock, self._dice, KEY) for _ in range(self.scenario.operators)
        ]
        for turn in range(MOST_TURNS):
            troubled = turn < TROUBLED_TURNS
            if turn == TROUBLED_TURNS:
                self._server.faults.active = False
                self._clock.offset = 0
            self._ask_for_changes(turn)
            if troubled:
                self._disturb(operators)
            elif not self._moves(operators):
                break
            await self._act(operators)
            self._check()
        else:
            raise Violation("it does not come to rest")
        self._invariants.ended(len(self._live()))

    def _prepare(self) -> None:
        orchestrators = {"jobs": JOBS_SPEC, "pods": PODS_SPEC, "laptop": LAPTOP_SPEC}
        for name, spec in {**orchestrators, "bucket": BUCKET_SPEC}.items():
            self._server.add(STACK_COMPONENTS, component_body(name, spec, ready=True))
        self._server.add(STACKS, stack_body("production", orchestrator=self.scenario.orchestrator))
        body = run_body(self.scenario.spec)
        body["spec"]["stackRef"] = {"name": "production"}
        self._server.add(PIPELINE_RUNS, body)

    def _ask_for_changes(self, turn: int) -> None:
        """Cancel, suspend and resume the run, as people do."""
        if turn == self.scenario.cancel_after:
            self._edit(cancel=self.scenario.cancel)
        suspended = self.scenario.suspended_turns
        if suspended and turn in {suspended.start, suspended.stop}:
            self._edit(suspend=turn == suspended.start)

    def _edit(self, **fields: object) -> None:
        run = self._server.one(PIPELINE_RUNS, RUN.name)
        run["spec"] |= fields
        run["metadata"]["generation"] += 1
        self._server.set_status(PIPELINE_RUNS, run)
        self._tell(f"somebody sets {fields}")

    def _disturb(self, operators: list[OperatorProcess]) -> None:
        self._nodes.disturb()
        for name in self._server.history.deleted_by_others[self._told_deletions :]:
            self._tell(f"somebody deletes {name}")
            self._invariants.deleted_by_somebody(name)
        self._told_deletions = len(self._server.history.deleted_by_others)
        for operator in operators:
            if self._dice.random() < self.scenario.gaps:
                operator.lose_watches()
            elif operator.behind and self._dice.random() < 0.05:
                operator.list_again()
        if self._dice.random() < self.scenario.clock_steps:
            self._clock.offset = self._dice.choice((-3600, -30, 30, 3600, 0))
            self._tell(f"the clock is set wrong by {self._clock.offset} s")

    async def _act(self, operators: list[OperatorProcess]) -> None:
        """Let something happen: a reconcile that is due, the nodes, the watches, or time."""
        due = [operator for operator in operators if operator.due is not None and operator.due <= self._clock.seconds]
        choice = self._dice.random()
        if due and choice < 0.4:
            await self._dice.choice(due).reconcile()
        elif choice < 0.75:
            self._nodes.act()
        elif choice < 0.95:
            self._hear(self._dice.choice(operators))
        else:
            self._clock.seconds += self._dice.choice((0.1, 1, 10))
            self._pass_time(operators)

    def _hear(self, operator: OperatorProcess) -> None:
        if operator.behind and not self._server.faults.active:
            operator.list_again()
        operator.hear()

    def _pass_time(self, operators: list[OperatorProcess]) -> None:
        """Jump to what is due next, when nothing else is."""
        if any(operator.behind for operator in operators):
            return
        moments = [operator.due for operator in operators if operator.due is not None]
        end = self._nodes.next_end()
        if end is not None:
            moments.append((end - self._clock.true_time()).total_seconds() + self._clock.seconds)
        future = [moment for moment in moments if moment > self._clock.seconds]
        if future and len(future) == len(moments):
            self._clock.seconds = min(future)

    def _moves(self, operators: list[OperatorProcess]) -> bool:
        """Return whether anything may still happen."""
        if self._invariants.status.completion_time is None:
            return True
        return bool(self._live()) or any(operator.due is not None or operator.behind for operator in operators)

    def _live(self) -> list[JsonObject]:
        """Return the Jobs that have not ended, and the pods that nobody would let go."""
        jobs = [job for job in self._server.those(JOBS) if not has_ended(job)]
        pods = [pod for pod in self._server.those(PODS) if pod["metadata"]["uid"] not in self._nodes.lost]
        bare = [pod for pod in pods if pod["metadata"].get("finalizers")]
        return jobs + [pod for pod in bare if not pod_has_ended(pod) or "deletionTimestamp" in pod["metadata"]]

    def _check(self) -> None:
        history = self._server.history
        for run in history.status_writes[self._told_writes :]:
            self._tell(_line(run))
            self._invariants.written(run)
        self._told_writes = len(history.status_writes)
        for workload in history.made[self._told_made :]:
            self._tell(f"{workload['kind']} {workload['metadata']['name']} is made")
            self._invariants.workload_made(workload)
        self._told_made = len(history.made)


def simulate(seed: int, tell: Tell = lambda _: None) -> None:
    """Simulate a seed; raises Violation."""
    asyncio.run(Simulation(seed, tell).run())


def _line(run: JsonObject) -> str:
    status = run["status"]
    steps = " ".join(
        f"{step['name']}:{step['state']}{step.get('attempts', 0)}{'/' + step['reason'] if step.get('reason') else ''}"
        for step in status.get("steps", ())
    )
    condition = next(item for item in status["conditions"] if item["type"] == "Succeeded")
    return f"written: {condition['status']} {condition['reason']} {steps}"
