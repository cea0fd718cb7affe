"""The two commands: read the plan, move the artifacts one after another, report."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from cairn.step import report
from cairn.step.download import Downloader
from cairn.step.errors import INTERNAL_ERROR, PlanError, StepError, StoppedError, redact
from cairn.step.limits import Stop
from cairn.step.plan import FetchPlan, PublishPlan, parse_fetch, parse_publish
from cairn.step.stores import Stores
from cairn.step.tree import check_all_exist, make_links_relative, survey
from cairn.step.upload import Uploader

PLAN_ENV: Final = "CAIRN_PLAN"
STOP_SECONDS: Final = 5.0

OK: Final = 0
FAILED: Final = 1
BAD_PLAN: Final = 2
TERMINATED: Final = 128 + signal.SIGTERM

Report = dict[str, Any]
Work = Callable[[Stop], Awaitable[Report]]


async def fetch(plan: FetchPlan, stores: Stores, stop: Stop) -> Report:
    """Download the inputs."""
    downloader = Downloader(stop)
    artifacts: Report = {}
    for artifact in plan.artifacts:
        stop.check()
        start = time.monotonic()
        store, key = stores.locate(artifact.uri)
        fetched = await downloader.download(artifact, store, key)
        report.say(_progress("fetched", artifact.name, fetched.files, fetched.size, start))
        artifacts[artifact.name] = {"digest": fetched.digest, "sizeBytes": fetched.size}
    return {"artifacts": artifacts}


async def publish(plan: PublishPlan, stores: Stores, stop: Stop) -> Report:
    """Upload the outputs. Nothing is uploaded unless all of them are there and fit to be published."""
    check_all_exist(plan.artifacts)
    results = report.read_results(plan.results_path) if plan.results_path else None
    trees = [await asyncio.to_thread(survey, output) for output in plan.artifacts]
    uploader = Uploader(stop)
    artifacts: Report = {}
    for tree in trees:
        stop.check()
        start = time.monotonic()
        store, key = stores.locate(tree.output.uri)
        published = await uploader.upload(tree, store, key.rstrip("/"))
        await asyncio.to_thread(make_links_relative, tree)
        report.say(_progress("published", tree.output.name, len(tree.files), published.size, start))
        artifacts[tree.output.name] = {"digest": published.digest, "sizeBytes": published.size}
    return {"artifacts": artifacts} if results is None else {"artifacts": artifacts, "results": results}


def run(command: str, environment: Mapping[str, str] = os.environ) -> int:
    """Run a command as a process and return its exit code."""
    try:
        work = _work(command, environment)
        result = asyncio.run(_until_terminated(work))
    except (StoppedError, asyncio.CancelledError):
        report.say(f"{command} was told to stop; what it had not finished does not count.")
        return TERMINATED
    except StepError as error:
        report.finish(report.failure(error), environment)
        return BAD_PLAN if isinstance(error, PlanError) else FAILED
    except Exception as error:  # noqa: BLE001  # whatever it is, the operator gets a reason
        sys.stderr.write(redact(traceback.format_exc()))
        text = f"{command} failed unexpectedly: {type(error).__name__}: {error}; report it with this log."
        report.finish(report.failure(StepError(INTERNAL_ERROR, text)), environment)
        return FAILED
    report.finish(result, environment)
    return OK


def _plan_text(environment: Mapping[str, str]) -> str:
    """Return the plan, which goes on in CAIRN_PLAN_1 and so on where it is too long for one variable."""
    parts = [environment.get(PLAN_ENV) or ""]
    while (more := environment.get(f"{PLAN_ENV}_{len(parts)}")) is not None:
        parts.append(more)
    return "".join(parts)


def _work(command: str, environment: Mapping[str, str]) -> Work:
    text = _plan_text(environment)
    if command == "fetch":
        fetch_plan = parse_fetch(text)
        return lambda stop: fetch(fetch_plan, Stores(fetch_plan.store), stop)
    publish_plan = parse_publish(text)
    return lambda stop: publish(publish_plan, Stores(publish_plan.store), stop)


async def _until_terminated(work: Work) -> Report:
    """Do the work; on SIGTERM let it end by itself for a moment (aborting uploads), then cancel it."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work(stop))
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        stop.set()
        loop.call_later(STOP_SECONDS, task.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminate)
    try:
        return await task
    except StepError:
        if terminated:
            raise StoppedError from None
        raise


def _progress(verb: str, name: str, files: int, size: int, start: float) -> str:
    count = "1 file" if files == 1 else f"{files:,} files"
    return f"{verb} {name}: {count}, {size / 1024**2:.1f} MiB, {time.monotonic() - start:.2f} s"
