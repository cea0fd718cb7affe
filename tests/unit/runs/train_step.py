"""The step `train` in each state that is not an end."""

from __future__ import annotations

from cairn.runs.stopping import Halt
from tests.unit.builders import EARLIER, LATER, NOW, step, step_status

TRAIN = step("train", retry={"limit": 1})
PENDING = step_status("train", "Pending")
QUEUED = step_status("train", "Queued", attempts=1, queuedTime=NOW)
RUNNING = step_status("train", "Running", attempts=1, queuedTime=EARLIER, startTime=NOW, jobName="wine-1-train-1")
RETRYING = step_status(
    "train", "Retrying", attempts=1, retriesUsed=1, reason="ExitCode", jobName="wine-1-train-1", nextAttemptTime=LATER
)
CANCELLED = Halt("Cancelled", "The run was cancelled.")
