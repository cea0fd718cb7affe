"""An executor in memory: a script says what each attempt does, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .clock import Clock
from .executor import Progress
from .state import Attempt, Phase


@dataclass(frozen=True)
class Deed:
    """What one attempt does."""

    exit_code: int = 0
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    artifacts: list[str] = field(default_factory=list[str])
    starts_after: float = 1
    """Seconds until the pod runs; infinite for an image that cannot be pulled."""
    takes: float = 2
    """Seconds that it runs; infinite for one that is to be stopped."""
    stops_after: float = 2
    """Seconds from being told to stop until it has."""
    seen_after: float = 0
    """Seconds from its container's end until the pod has ended."""


Script = Callable[[Attempt], Deed]


@dataclass
class _Acted:
    deed: Deed
    begun_at: datetime
    stopped_at: datetime | None = None


def succeeding(seconds: float) -> Script:
    """Return a script by which every container runs so long, writes all that is declared and succeeds."""

    def succeeds(attempt: Attempt) -> Deed:
        parameters = dict.fromkeys(attempt.output_parameters, "1")
        return Deed(parameters=parameters, artifacts=list(attempt.outputs.artifacts), takes=seconds)

    return succeeds


class ScriptedExecutor:
    """Plays attempts by a script."""

    def __init__(self, clock: Clock, script: Script) -> None:
        self._clock = clock
        self._script = script
        self._acted: dict[str, _Acted] = {}
        self.started: list[Attempt] = []
        """In the order in which they were."""

    def start(self, attempt: Attempt) -> None:
        """Begin an attempt, or follow one on that was begun before a restart."""
        if attempt.pod_name not in self._acted:
            self.started.append(attempt)
            self._acted[attempt.pod_name] = _Acted(self._script(attempt), self._clock.now())

    def progress(self, attempt: Attempt) -> Progress:
        """Return how far an attempt is."""
        acted, now = self._acted[attempt.pod_name], self._clock.now()
        deed = acted.deed
        if acted.stopped_at is not None:
            ended_at = acted.stopped_at + timedelta(seconds=deed.stops_after)
            if now >= ended_at:
                return Progress(Phase.FAILED, ended_at, 143)
        age = (now - acted.begun_at).total_seconds()
        if age < deed.starts_after:
            return Progress(Phase.PENDING)
        if acted.stopped_at is not None or age < deed.starts_after + deed.takes + deed.seen_after:
            return Progress(Phase.RUNNING)
        ended_at = acted.begun_at + timedelta(seconds=deed.starts_after + deed.takes)
        phase = Phase.FAILED if deed.exit_code else Phase.SUCCEEDED
        return Progress(phase, ended_at, deed.exit_code, deed.parameters, deed.artifacts)

    def stop(self, attempt: Attempt) -> None:
        """End an attempt."""
        acted = self._acted[attempt.pod_name]
        if acted.stopped_at is None:
            acted.stopped_at = self._clock.now()

    def remove(self, attempt: Attempt) -> None:
        """Forget an attempt."""
        self._acted.pop(attempt.pod_name, None)
