"""A stand-in for Comet's REST APIs, the one that experiments log to and the one that reads and registers.

Made from the requests of the client library `comet-ml` 3.58, which runs against it unchanged, that library's source and
the REST reference at comet.com/docs. Faithful: paths, parameters, the `Authorization` header and the key in the body of
the logging API, versions that can't be registered twice, tags that are added and removed one at a time. Not: roles, other
error codes, paging, statuses, S3 transfers, the rendering of anything. No account of Comet was at hand.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections.abc import Callable
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.doubles.http import HttpDouble, JsonHandler

WORKSPACE = "traders"
Answer = tuple[int, Any]


class CometDouble(HttpDouble):
    """Comet, with one workspace.

    Attributes:
        api_key: The key that it takes.
        experiments: By key: name, project, parameters, metrics, others, html and assets.
        models: Versions of registered models, by the model's name.
        unknown: What it was asked and has no answer for.
        refusals: Statuses that it answers the next requests with.
    """

    def __init__(self, api_key: str = "k" * 25) -> None:
        self.api_key = api_key
        self.experiments: dict[str, dict[str, Any]] = {}
        self.models: dict[str, list[dict[str, Any]]] = {}
        self.unknown: list[str] = []
        self.refusals: list[int] = []
        self.lock = threading.RLock()
        super().__init__(_handler(self))

    def experiment(self, key: str, **given: Any) -> dict[str, Any]:
        with self.lock:
            found = self.experiments.setdefault(
                key,
                {"name": "", "project": "", "parameters": {}, "metrics": {}, "others": {}, "html": "", "assets": []},
            )
            found.update(given)
            return found

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        with self.lock:
            for ending, reply in self._routes().items():
                if path.endswith(ending):
                    return reply(query, body)
        self.unknown.append(f"{method} {path}")
        return 404, {"msg": f"there is no {method} {path}", "code": 404}

    def _routes(self) -> dict[str, Callable[[dict[str, str], Any], Answer]]:
        return {
            "/isAlive/ver": lambda query, body: (200, {"version": "5.0.0"}),
            "/health/ping": lambda query, body: (200, {}),
            "/logger/add/run": self._start,
            "/asset/3d-limits": lambda query, body: (200, {}),
            "/status-report/update": lambda query, body: (
                200,
                {"is_alive_beat_duration_millis": 10_000, "gpu_monitor_interval_millis": 60_000},
            ),
            "/status-report/offline-metadata": lambda query, body: (200, {"msg": ""}),
            "/notification/experiment": lambda query, body: (200, {}),
            "/write/experiment/update-status": lambda query, body: (200, {}),
            "/write/experiment/set-start-end-time": lambda query, body: (200, {}),
            "/batch/logger/experiment/parameter": self._parameters,
            "/batch/logger/experiment/metric": self._metrics,
            "/write/experiment/html": self._html,
            "/write/experiment/log-other": self._log_other,
            "/asset/upload": self._upload,
            "/write/experiment/create": self._create,
            "/experiment/metadata": lambda query, body: (200, self._metadata(query["experimentKey"])),
            "/experiment/log-other": self._others,
            "/experiment/asset/get-asset": self._asset,
            "/experiments": self._list,
            "/account-details": lambda query, body: (200, {"userName": "trader", "defaultWorkspaceName": WORKSPACE}),
            "/write/registry-model/item/create": self._register,
            "/write/registry-model/item/update": self._update,
            "/write/registry-model/item/stage/delete": self._remove_tag,
            "/write/registry-model/item/stage": self._add_tag,
            "/registry-model/compact-details": lambda query, body: (200, {"registryModelId": query["modelName"]}),
            "/registry-model/details": self._details,
            "/registry-model": lambda query, body: (
                200,
                {"registryModels": [{"modelName": name} for name in self.models]},
            ),
        }

    def _start(self, query: dict[str, str], body: Any) -> Answer:
        self.experiment(body["experimentKey"], project=body["projectName"])
        return 200, {
            "runId": "run",
            "projectId": "project",
            "workspaceName": WORKSPACE,
            "projectName": body["projectName"],
            "links": {"experimentUrl": self.url, "startUrl": self.url},
            "focusUrl": f"{self.url}/",
            "is_github": False,
            "upload_limit": 10**9,
            "assetUploadLimit": 10**9,
            "features": {},
            "msg": "",
        }

    def _parameters(self, query: dict[str, str], body: Any) -> Answer:
        given = {each["parameterName"]: str(each["parameterValue"]) for each in body["values"]}
        self.experiment(body["experimentKey"])["parameters"].update(given)
        return 200, {}

    def _metrics(self, query: dict[str, str], body: Any) -> Answer:
        given = {each["metricName"]: each["metricValue"] for each in body["values"]}
        self.experiment(body["experimentKey"])["metrics"].update(given)
        return 200, {}

    def _html(self, query: dict[str, str], body: Any) -> Answer:
        self.experiment(body["experimentKey"])["html"] = body["html"]
        return 200, {}

    def _log_other(self, query: dict[str, str], body: Any) -> Answer:
        experiment = self.experiment(body["experimentKey"])
        experiment["others"][body["key"]] = body["value"]
        if body["key"] == "Name":
            experiment["name"] = body["value"]
        return 200, {"msg": "Success"}

    def _upload(self, query: dict[str, str], body: Any) -> Answer:
        asset = {
            "assetId": query["assetId"],
            "fileName": query["fileName"],
            "type": query["type"],
            "groupingName": query.get("groupingName"),
            "content": body,
        }
        self.experiment(query["experimentId"])["assets"].append(asset)
        return 200, {"assetId": query["assetId"]}

    def _create(self, query: dict[str, str], body: Any) -> Answer:
        key = uuid.uuid4().hex
        name = body.get("experimentName") or ""
        self.experiment(key, project=body["projectName"], name=name)
        return 200, {"experimentKey": key, "link": self.url}

    def _metadata(self, key: str) -> dict[str, Any]:
        experiment = self.experiments[key]
        return {
            "experimentKey": key,
            "experimentName": experiment["name"],
            "projectName": experiment["project"],
            "projectId": "project",
            "workspaceName": WORKSPACE,
            "archived": False,
        }

    def _others(self, query: dict[str, str], body: Any) -> Answer:
        others = self.experiments[query["experimentKey"]]["others"]
        return 200, {"values": [{"name": name, "valueCurrent": value} for name, value in others.items()]}

    def _asset(self, query: dict[str, str], body: Any) -> Answer:
        assets = self.experiments[query["experimentKey"]]["assets"]
        return 200, next(asset["content"] for asset in assets if asset["assetId"] == query["assetId"])

    def _list(self, query: dict[str, str], body: Any) -> Answer:
        project = query.get("projectName")
        keys = [key for key, one in self.experiments.items() if one["project"] == project]
        return 200, {"experiments": [self._metadata(key) for key in keys]}

    def _register(self, query: dict[str, str], body: Any) -> Answer:
        versions = self.models.setdefault(body["registryModelName"], [])
        if any(one["version"] == body["version"] for one in versions):
            return 400, {"msg": "this version already exists", "sdk_error_code": 0}
        key = body["experimentKey"]
        mine = [a for a in self.experiments[key]["assets"] if a["groupingName"] == body["experimentModelName"]]
        if not mine:
            return 400, {"msg": "the experiment has no such model", "sdk_error_code": 0}
        versions.append(
            {
                "registryModelItemId": uuid.uuid4().hex,
                "version": body["version"],
                "comment": body["versionComment"],
                "stages": list(body["tags"] or []),
                "createdAt": int(time.time() * 1000),
                "experimentModel": {"experimentKey": key, "experimentModelName": body["experimentModelName"]},
                "assets": [{name: value for name, value in a.items() if name != "content"} for a in mine],
            }
        )
        return 200, {"registryModelItemId": versions[-1]["registryModelItemId"]}

    def _item(self, identity: str) -> dict[str, Any]:
        everything = (one for versions in self.models.values() for one in versions)
        return next(one for one in everything if one["registryModelItemId"] == identity)

    def _update(self, query: dict[str, str], body: Any) -> Answer:
        self._item(body["registryModelItemId"])["comment"] = body["comment"]
        return 200, {}

    def _add_tag(self, query: dict[str, str], body: Any) -> Answer:
        tags = self._item(query["modelItemId"])["stages"]
        if query["stage"] not in tags:
            tags.append(query["stage"])
        return 200, {}

    def _remove_tag(self, query: dict[str, str], body: Any) -> Answer:
        tags = self._item(query["modelItemId"])["stages"]
        if query["stage"] in tags:
            tags.remove(query["stage"])
        return 200, {}

    def _details(self, query: dict[str, str], body: Any) -> Answer:
        if query["modelName"] not in self.models:
            return 400, {"msg": "no such model"}
        return 200, {"modelName": query["modelName"], "versions": self.models[query["modelName"]]}


def _handler(double: CometDouble) -> type[JsonHandler]:
    class Handler(JsonHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def body(self) -> Any:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip" or raw[:2] == b"\x1f\x8b":
                raw = gzip.decompress(raw)
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/form-data"):
                head = f"Content-Type: {kind}\r\n\r\n".encode()
                return BytesParser().parsebytes(head + raw).get_payload(0).get_payload(decode=True)  # type: ignore[union-attr]
            return json.loads(raw) if raw else None

        def _answer(self, method: str) -> None:
            url = urlsplit(self.path)
            body = self.body()
            key = self.headers.get("Authorization") or self.headers.get("Comet-Sdk-Api") or ""
            if not key and isinstance(body, dict):
                key = body.get("apiKey", "")
            open_to_all = url.path.endswith(("/isAlive/ver", "/health/ping"))
            if double.refusals and not open_to_all:
                status, answer = double.refusals.pop(0), {"msg": "refused"}
            elif key and key != double.api_key:
                status, answer = 401, {"msg": f"the key {key} is unknown", "code": 401}
            else:
                status, answer = double.answer(method, url.path, dict(parse_qsl(url.query)), body)
            self.reply(status, answer)

    return Handler
