"""An MLflow server in memory that speaks HTTP, as far as Cairn asks it anything; its answers are those of MLflow 3.17."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from cairn.api.base import JsonObject

API = "/api/2.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
COMPARISON = re.compile(r"(\w+) = '([^']*)'")
TAG = re.compile(r"tags\.`([^`]+)` = '([^']*)'")


class FakeMLflow:
    """Experiments, runs and artifacts, and what is wrong with the server."""

    def __init__(self) -> None:
        self.version = "3.17.2"
        self.authorization: str | None = None
        """The header that it wants."""
        self.allowed_host = ""
        self.broken: int | None = None
        """The status that it answers every request of its API with."""
        self.page: str | None = None
        """What it answers instead of JSON: it is no MLflow."""
        self.status = 200
        self.headers: dict[str, str] = {}
        """Of that answer."""
        self.delay = 0.0
        self.experiments: dict[str, str] = {}
        """IDs by name."""
        self.runs: dict[str, JsonObject] = {}
        self.deleted: set[str] = set()
        """IDs of runs that somebody has deleted."""
        self.artifacts: dict[str, bytes] = {}
        self.keeps_artifacts = True
        """Whether its bucket is there."""
        self.models: dict[str, list[JsonObject]] = {}
        """Versions by the registered model's name."""
        self.aliases: dict[tuple[str, str], str] = {}
        """Version by model and alias."""
        self.requests: Counter[str] = Counter()
        """How often what was asked."""
        self._numbers = count(1)
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/version", self._version)
        application.router.add_route("*", f"{API}{{endpoint:.+}}", self._endpoint)
        application.router.add_route("*", f"{ARTIFACTS}{{path:.+}}", self._artifact)
        self.server = TestServer(application)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def __aenter__(self) -> Self:
        """Begin to answer."""
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer no more."""
        await self.server.close()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        await asyncio.sleep(self.delay)
        if self.allowed_host and request.host != self.allowed_host:
            return web.Response(status=403, text="Invalid Host header - possible DNS rebinding attack detected")
        if self.authorization is not None and request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401, text="You are not authenticated.")
        if self.page is not None:
            return web.Response(text=self.page, status=self.status, headers=self.headers)
        return await handler(request)

    async def _version(self, _: web.Request) -> web.Response:
        return web.Response(text=self.version)

    async def _endpoint(self, request: web.Request) -> web.Response:
        endpoint = request.match_info["endpoint"]
        self.requests[endpoint] += 1
        if self.broken is not None:
            return web.Response(status=self.broken, text="<h1>Bad</h1>")
        body = dict(request.query) if request.method == "GET" else await request.json()
        if body.get("run_id") in self.deleted:
            words = f"The run {body['run_id']} must be in the 'active' state. Current state is deleted."
            return _refused(400, "INVALID_PARAMETER_VALUE", words)
        if body.get("run_id", next(iter(self.runs), None)) not in {*self.runs, None}:
            return _refused(404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={body['run_id']} not found")
        name = endpoint.replace("/", "_").replace("-", "_")
        if name == "registered_models_alias":
            name = f"alias_{request.method.lower()}"
        return getattr(self, f"_{name}")(body)

    async def _artifact(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if not self.keeps_artifacts:
            return web.Response(status=500, text="Internal Server Error")
        if request.method == "PUT":
            self.artifacts[path] = await request.read()
            return web.json_response({})
        if path not in self.artifacts:
            return _refused(404, "RESOURCE_DOES_NOT_EXIST", f"No such artifact: '{path}'")
        if request.method == "DELETE":
            del self.artifacts[path]
            return web.json_response({})
        return web.Response(body=self.artifacts[path])

    # ---- endpoints

    def _experiments_search(self, _: JsonObject) -> web.Response:
        return web.json_response({"experiments": []})

    def _experiments_get_by_name(self, body: JsonObject) -> web.Response:
        name = body["experiment_name"]
        if name not in self.experiments:
            return _refused(404, "RESOURCE_DOES_NOT_EXIST", f"Could not find experiment with name '{name}'")
        return web.json_response({"experiment": {"experiment_id": self.experiments[name], "name": name}})

    def _experiments_create(self, body: JsonObject) -> web.Response:
        if body["name"] in self.experiments:
            return _refused(400, "RESOURCE_ALREADY_EXISTS", f"Experiment '{body['name']}' already exists.")
        self.experiments[body["name"]] = str(next(self._numbers))
        return web.json_response({"experiment_id": self.experiments[body["name"]]})

    def _registered_models_search(self, _: JsonObject) -> web.Response:
        return web.json_response({})

    def _registered_models_create(self, body: JsonObject) -> web.Response:
        if body["name"] in self.models:
            return _refused(400, "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={body['name']}) already exists.")
        self.models[body["name"]] = []
        return web.json_response({"registered_model": {"name": body["name"]}})

    def _model_versions_create(self, body: JsonObject) -> web.Response:
        versions = self.models[body["name"]]
        versions.append({**body, "version": str(len(versions) + 1)})
        return web.json_response({"model_version": versions[-1]})

    def _model_versions_search(self, body: JsonObject) -> web.Response:
        wanted = dict(COMPARISON.findall(body["filter"]))
        of_source = [one for one in self.models[wanted["name"]] if one["source"] == wanted["source_path"]]
        return web.json_response({"model_versions": of_source} if of_source else {})

    def _model_versions_set_tag(self, body: JsonObject) -> web.Response:
        tags = self.models[body["name"]][int(body["version"]) - 1]["tags"]
        tags.append({"key": body["key"], "value": body["value"]})
        return web.json_response({})

    def _alias_post(self, body: JsonObject) -> web.Response:
        self.aliases[body["name"], body["alias"]] = body["version"]
        return web.json_response({})

    def _alias_get(self, body: JsonObject) -> web.Response:
        version = self.aliases.get((body["name"], body["alias"]))
        if version is None:
            return _refused(400, "INVALID_PARAMETER_VALUE", f"Registered model alias {body['alias']} not found.")
        found = self.models.get(body["name"], [])
        known = found[int(version) - 1] if int(version) <= len(found) else {}
        return web.json_response({"model_version": {**known, "name": body["name"], "version": version}})

    def _alias_delete(self, body: JsonObject) -> web.Response:
        self.aliases.pop((body["name"], body["alias"]), None)
        return web.json_response({})

    def _runs_create(self, body: JsonObject) -> web.Response:
        run_id = f"{next(self._numbers):032x}"
        info = {"run_id": run_id, "experiment_id": body["experiment_id"], "run_name": body["run_name"]}
        info |= {"status": "RUNNING", "start_time": body["start_time"]}
        data = {"tags": body["tags"], "params": [], "metrics": []}
        self.runs[run_id] = {"info": info, "data": data, "inputs": {"dataset_inputs": []}}
        return web.json_response({"run": self.runs[run_id]})

    def _runs_search(self, body: JsonObject) -> web.Response:
        wanted = TAG.findall(body["filter"])
        found = [
            run
            for run in self.runs.values()
            if run["info"]["experiment_id"] in body["experiment_ids"] and set(wanted) <= pairs(run, "tags").items()
        ]
        first = int(body.get("page_token") or 0)
        end = first + body["max_results"]
        answer: JsonObject = {"runs": found[first:end]} if found[first:end] else {}
        return web.json_response({**answer, **({"next_page_token": str(end)} if found[end:] else {})})

    def _runs_delete(self, body: JsonObject) -> web.Response:
        del self.runs[body["run_id"]]
        self.deleted.add(body["run_id"])
        return web.json_response({})

    def _runs_log_batch(self, body: JsonObject) -> web.Response:
        run = self.runs[body["run_id"]]
        known = pairs(run, "params")
        for item in body["params"]:
            if known.get(item["key"], item["value"]) != item["value"]:
                return _refused(400, "INVALID_PARAMETER_VALUE", "Changing param values is not allowed.")
        for kind in ("params", "tags"):
            merged = {**pairs(run, kind), **{item["key"]: item["value"] for item in body[kind]}}
            run["data"][kind] = [{"key": key, "value": value} for key, value in merged.items()]
        run["data"]["metrics"] += [item for item in body["metrics"] if item not in run["data"]["metrics"]]
        return web.json_response({})

    def _runs_log_inputs(self, body: JsonObject) -> web.Response:
        if any(len(item["dataset"]["digest"]) > 36 for item in body["datasets"]):
            return _refused(400, "INVALID_PARAMETER_VALUE", "Dataset digest exceeds the maximum length of 36")
        self.runs[body["run_id"]]["inputs"]["dataset_inputs"] += body["datasets"]
        return web.json_response({})

    def _runs_update(self, body: JsonObject) -> web.Response:
        info = self.runs[body["run_id"]]["info"]
        info |= {key: body[key] for key in ("status", "end_time") if key in body}
        return web.json_response({"run_info": info})


def pairs(run: JsonObject, kind: str) -> dict[str, Any]:
    """Return a run's `tags`, `params` or `metrics` by their keys."""
    return {item["key"]: item["value"] for item in run["data"][kind]}


def _refused(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)
