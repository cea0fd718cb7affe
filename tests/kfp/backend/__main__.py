"""Starts the backend: `python -m tests.kfp.backend`, or `python -m backend` where only this directory is mounted."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from .app import make_app
from .auth import Auth
from .clock import Clock, Timing, WallClock
from .cluster import Cluster, in_cluster, own_namespace
from .engine import Engine
from .executor import Executor
from .operation import Host
from .pod_spec import Helpers
from .pods import PodExecutor
from .scripted import ScriptedExecutor, succeeding
from .store import Store


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser("backend", description=__doc__)
    found.add_argument("--port", type=int, default=8888)
    found.add_argument("--pipeline-root", default="s3://mlpipeline/v2/artifacts", help="where outputs go")
    found.add_argument("--s3-endpoint", default="", help="base URL of the S3 server, as pods reach it")
    found.add_argument("--s3-region", default="us-east-1")
    found.add_argument("--s3-secret", default="", help="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    found.add_argument("--namespace", default="", help="where pods are made; the backend's own if left out")
    found.add_argument("--image", default="", help="of the helper containers: aiohttp, pydantic, botocore")
    found.add_argument("--image-pull-policy", default="IfNotPresent")
    found.add_argument("--code", default="", help="ConfigMap with the files of this package, for the helpers")
    found.add_argument("--restrict-main", action="store_true", help="run users' containers as Pod Security wants it")
    found.add_argument("--requeue-seconds", type=float, default=10, help="between two looks at a run; all else scales")
    found.add_argument("--state", type=Path, help="directory in which runs outlast a restart")
    found.add_argument("--token", default="", help="bearer token that requests must carry")
    found.add_argument("--multi-user", action="store_true", help="ask for the header kubeflow-userid")
    found.add_argument("--kubernetes", default="", help="address of the API server, as of `kubectl proxy`")
    found.add_argument(
        "--in-memory",
        type=float,
        metavar="SECONDS",
        help="make no pods, write no files: every container is only said to run so long, and succeeds",
    )
    return found


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line, of this process's own if none is given."""
    found = parser()
    options = found.parse_args(arguments)
    if options.in_memory is None and not (options.image and options.s3_endpoint):
        found.error("pods need --image and --s3-endpoint; there are none with --in-memory")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    clock = WallClock()
    async with executor_of(options, clock) as executor:
        await _serve(options, executor, clock)


@asynccontextmanager
async def executor_of(options: argparse.Namespace, clock: Clock) -> AsyncGenerator[Executor]:
    """Yield what runs containers: pods, or a script where there are to be none."""
    if options.in_memory is not None:
        yield ScriptedExecutor(clock, succeeding(options.in_memory))
        return
    helpers = Helpers(
        image=options.image,
        endpoint=options.s3_endpoint,
        region=options.s3_region,
        secret=options.s3_secret,
        code=options.code,
        pull_policy=options.image_pull_policy,
        restrict_main=options.restrict_main,
    )
    cluster = Cluster(options.kubernetes or in_cluster())
    executor = PodExecutor(cluster, helpers, options.namespace or own_namespace())
    executor.follow()
    try:
        yield executor
    finally:
        await executor.close()
        await cluster.close()


async def _serve(options: argparse.Namespace, executor: Executor, clock: Clock) -> None:
    store = Store(options.state if options.in_memory is None else None)
    timing = Timing.scaled(options.requeue_seconds)
    host = Host(executor=executor, timing=timing, pipeline_root=options.pipeline_root, cache=store.cache)
    engine = Engine(store, host, clock)
    auth = Auth(token=options.token, is_multi_user=options.multi_user)
    runner = web.AppRunner(make_app(store, engine, clock, auth), access_log=None)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    engine.resume()
    await runner.setup()
    await web.TCPSite(runner, port=options.port).start()
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(serve(options_of()))
