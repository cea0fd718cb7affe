"""What is to be done: runs that begin at once, all of one shape, as Cairn or a user with plain Jobs does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cairn.api.base import API_VERSION, JsonObject
from tests.bench.objects import HOLD_ANNOTATION, LASTS_ANNOTATION, STEP_IMAGE

Task = tuple[str, str]
"""A run and a step of it."""

EACH = "each"
"""The step that is repeated for items."""


@dataclass(frozen=True)
class Work:
    """Runs of these steps, each named with those it waits for."""

    steps: Mapping[str, Sequence[str]]
    runs: int = 1
    prefix: str = "run"
    held: bool = False
    """Whether the pods, on fake nodes, run until they are released."""
    for_each: bool = field(default=False, kw_only=True)
    """Whether the steps are instances of a single one."""
    seconds: int = field(default=0, kw_only=True)
    """What each step does: nothing for so long, on fake nodes too."""

    @property
    def names(self) -> list[str]:
        """Names of the runs."""
        return [f"{self.prefix}-{index}" for index in range(self.runs)]

    @property
    def tasks(self) -> Iterator[Task]:
        """Yield every step of every run."""
        return ((name, step) for name in self.names for step in self.steps)

    def predecessors(self, task: Task) -> list[Task]:
        """Return what has to be done before."""
        return [(task[0], step) for step in self.steps[task[1]]]

    def manifests(self, stack: str) -> Iterator[JsonObject]:
        """Yield the PipelineRuns."""
        annotations = {
            **({HOLD_ANNOTATION: "true"} if self.held else {}),
            **({LASTS_ANNOTATION: f"{self.seconds}s"} if self.seconds else {}),
        }
        template = {"podTemplate": {"annotations": annotations}} if annotations else {}
        for name in self.names:
            yield {
                "apiVersion": API_VERSION,
                "kind": "PipelineRun",
                "metadata": {"name": name},
                "spec": {"pipeline": "bench", "stackRef": {"name": stack}, "steps": list(self._steps()), **template},
            }

    def _steps(self) -> Iterator[JsonObject]:
        code = f"import time; time.sleep({self.seconds})" if self.seconds else "pass"
        program: JsonObject = {"image": STEP_IMAGE, "command": ["python3", "-c", code]}
        if self.for_each:
            items = [str(index) for index in range(len(self.steps))]
            yield {"name": EACH, **program, "forEach": {"items": items}}
            return
        for name, predecessors in self.steps.items():
            yield {"name": name, **program, **({"dependsOn": list(predecessors)} if predecessors else {})}


def one_step(runs: int = 1, *, prefix: str = "run", held: bool = False) -> Work:
    """Return runs of a single step."""
    return Work({"s": ()}, runs, prefix, held)


def chain(length: int, runs: int = 1, *, seconds: int = 0) -> Work:
    """Return runs whose steps follow one another."""
    steps = {f"s{index}": (f"s{index - 1}",) if index else () for index in range(length)}
    return Work(steps, runs, seconds=seconds)


def fan_out(width: int) -> Work:
    """Return a run of one step, then many, then one."""
    middle = [f"m{index}" for index in range(width)]
    return Work({"first": (), **dict.fromkeys(middle, ("first",)), "last": tuple(middle)})


def layers(width: int, depth: int, prefix: str = "run") -> Work:
    """Return a run of layers, each step of which waits for two of the layer before."""

    def predecessors(layer: int, place: int) -> tuple[str, ...]:
        if layer == 0:
            return ()
        return tuple(f"s{layer - 1}x{other % width}" for other in sorted({place, (place + 1) % width}))

    steps = {f"s{layer}x{place}": predecessors(layer, place) for layer in range(depth) for place in range(width)}
    return Work(steps, prefix=prefix)


def for_each(items: int) -> Work:
    """Return a run of one step that is done for each of many items."""
    return Work({f"{EACH}-{index}": () for index in range(items)}, for_each=True)
