"""The double's REST API: the paths that the client asks for when it connects, writes and reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.doubles.http import JsonHandler

if TYPE_CHECKING:
    from tests.doubles.hopsworks.project import HopsworksDouble
    from tests.doubles.hopsworks.storage import Group

Answer = tuple[int, Any]
STORE = {"featurestoreId": 67, "featurestoreName": "pricecast_featurestore"}
_STORE = STORE | {
    "created": "2026-11-27T00:00:00Z",
    "projectName": "pricecast",
    "projectId": 119,
    "onlineEnabled": True,
    "onlineFeaturestoreName": "pricecast",
    "offlineFeaturestoreName": "pricecast_featurestore",
}
_EXECUTION = {
    "id": 1,
    "state": "FINISHED",
    "finalStatus": "SUCCEEDED",
    "stdoutPath": "Logs/out",
    "stderrPath": "Logs/err",
}
_SYMBOLS = {
    "EQUALS": "=",
    "NOT_EQUALS": "<>",
    "GREATER_THAN": ">",
    "GREATER_THAN_OR_EQUAL": ">=",
    "LESS_THAN": "<",
    "LESS_THAN_OR_EQUAL": "<=",
}


def refusal(status: int, code: int, words: str) -> Answer:
    """Returns an error as the backend words it."""
    return status, {"errorCode": code, "errorMsg": words, "usrMsg": words}


def handler_of(double: HopsworksDouble) -> type[JsonHandler]:
    """Returns a handler that answers for a project."""
    api = _Api(double)

    class Handler(JsonHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def _answer(self, method: str) -> None:
            url = urlsplit(self.path)
            body = self.body()
            path = unquote(url.path).removeprefix("/hopsworks-api/api")
            double.requests.append(f"{method} {path}")
            if self.headers.get("Authorization") != f"ApiKey {double.api_key}":
                status, answer = refusal(401, 320004, "The API key is not valid")
            elif double.refusals:
                status, answer = double.refusals.pop(0)
            else:
                status, answer = api.answer(method, path, parse_qs(url.query), body)
            self.reply(status, answer)

    return Handler


class _Api:
    def __init__(self, double: HopsworksDouble) -> None:
        self._double = double
        self._storage = double.storage
        store = r"/project/119/featurestores/67"
        group = rf"{store}/featuregroups/(?P<number>\d+)"
        self._routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"/variables/(?P<name>\w+)", self._variable),
            ("GET", r"/project/getProjectInfo/(?P<name>\w+)", self._project),
            ("GET", r"/project", lambda: (200, [{"user": {"username": "meb10000"}, "project": {"name": "pricecast"}}])),
            ("GET", r"/project/119/credentials", self._credentials),
            ("GET", r"/project/119/featurestores/pricecast_featurestore", lambda: (200, _STORE)),
            ("GET", r"/project/119/featurestores", lambda: (200, [_STORE])),
            ("GET", rf"{store}/featuregroups/(?P<name>\w+)", self._group_by_name),
            ("POST", rf"{store}/featuregroups", self._create),
            ("PUT", group, self._update),
            ("POST", rf"{group}/updatetableschema", self._update_schema),
            ("GET", rf"{store}/kafka/subjects/(?P<table>\w+)/versions/latest", self._subject),
            ("GET", rf"{store}/storageconnectors/kafka_connector/byok", self._kafka),
            ("GET", rf"{store}/storageconnectors/onlinefeaturestore", self._mysql),
            ("POST", rf"{group}/online_ingestion", self._begin_ingestion),
            ("GET", rf"{group}/online_ingestion", self._ingestion),
            ("PUT", r"/project/119/featurestores/query", self._query),
            ("GET", r"/project/119/jobs/(?P<job>\w+)", self._job),
            (
                "GET",
                r"/project/119/jobs/(?P<job>\w+)/executions",
                lambda job: (200, {"count": 1, "items": [_EXECUTION]}),
            ),
            ("GET", r"/project/119/jobs/(?P<job>\w+)/executions/1", lambda job: (200, _EXECUTION)),
            ("POST", r"/project/119/jobs/(?P<job>\w+)/executions", self._run_job),
            ("GET", r"/project/119/dataset/Logs/\w+", lambda: (200, {})),
            ("POST", r"/project/119/jobs/(?P<job>\w+)/schedule/v2", self._schedule),
        ]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        for expected, pattern, answer in self._routes:
            match = re.fullmatch(pattern, path)
            if method == expected and match:
                given: dict[str, Any] = match.groupdict()
                if method != "GET":
                    given["body"] = body
                elif "featuregroups" in path or path.endswith("/online_ingestion"):
                    given["query"] = query
                return answer(**given)
        self._double.unknown.append(f"{method} {path}")
        return refusal(404, 120002, f"there is no {method} {path}")

    def _variable(self, name: str) -> Answer:
        if name == "versions":
            return 200, [{"software": "hopsworks", "version": self._double.version}]
        values = {
            "enable_flyingduck": "true",
            "service_discovery_domain": "hopsworks.test",
            "loadbalancer_external_domain_feature_query": self._double.host,
            "loadbalancer_external_domain_mysqld": self._double.host,
        }
        if name not in values:
            return refusal(404, 100025, f"variable {name} is not set")
        return 200, {"successMessage": values[name]}

    def _project(self, name: str) -> Answer:
        if name != "pricecast":
            return refusal(404, 150004, "Project wasn't found.")
        return 200, {"projectId": 119, "projectName": name, "owner": "meb10000@hopsworks.ai"}

    def _credentials(self) -> Answer:
        client = self._double.client
        return 200, {
            "kStore": "",
            "tStore": "",
            "password": "secret",
            "caChain": self._double.authority.pem,
            "clientCert": client.certificate,
            "clientKey": client.key,
        }

    def _group_by_name(self, name: str, query: dict[str, list[str]]) -> Answer:
        group = self._storage.group(name, int(query.get("version", ["1"])[0]))
        if group is None:
            return refusal(404, 270009, f"Featuregroup wasn't found: {name}")
        return 200, [group.metadata]

    def _create(self, body: dict[str, Any]) -> Answer:
        with self._storage.lock:
            if self._storage.group(body["name"], body["version"]) is not None:
                return refusal(400, 270089, "The feature group you are trying to create already exists")
            group = self._storage.create({**body, **STORE, "features": _features(body["features"])})
        return 201, group.metadata

    def _update(self, number: str, body: dict[str, Any]) -> Answer:
        group = self._storage.groups[int(number)]
        features = _features(body["features"])
        kept = {feature["name"]: feature["type"] for feature in features}
        if any(kept.get(name) != kind for name, kind in group.columns.items()):
            return refusal(400, 270125, "The feature group's schema can only be appended to")
        self._storage.alter(group, features)
        return 200, group.metadata

    def _subject(self, table: str) -> Answer:
        group = next(one for one in self._storage.groups.values() if one.table == table)
        return 200, {"id": group.metadata["id"], "subject": table, "version": 1, "schema": group.schema}

    def _kafka(self) -> Answer:
        return 200, {
            "type": "featurestoreKafkaConnectorDTO",
            "storageConnectorType": "KAFKA",
            "id": 1,
            "name": "kafka_connector",
            "featurestoreId": 67,
            "bootstrapServers": self._storage.brokers,
            "securityProtocol": "PLAINTEXT",
            "externalKafka": True,
            "sslEndpointIdentificationAlgorithm": "",
        }

    def _mysql(self) -> Answer:
        return 200, {
            "type": "featurestoreJdbcConnectorDTO",
            "storageConnectorType": "JDBC",
            "id": 2,
            "name": "onlinefeaturestore",
            "featurestoreId": 67,
            "connectionString": f"jdbc:mysql://onlinefs.mysql.service.consul:{self._double.mysql_port}/pricecast",
            "arguments": [{"name": "user", "value": "pricecast_meb10000"}, {"name": "password", "value": "pa55"}],
        }

    def _begin_ingestion(self, number: str, body: dict[str, Any]) -> Answer:
        identity = self._storage.next_id()
        ingestion = {"id": identity, "numEntries": body["numEntries"], "results": []}
        self._storage.groups[int(number)].ingestions[identity] = ingestion
        return 201, ingestion

    def _ingestion(self, number: str, query: dict[str, list[str]]) -> Answer:
        ingestions = self._storage.groups[int(number)].ingestions
        asked = query["filter_by"][0]
        identity = max(ingestions) if asked == "LATEST" else int(asked.removeprefix("ID:"))
        with self._storage.lock:
            return 200, {"count": 1, "items": [json.loads(json.dumps(ingestions[identity]))]}

    def _query(self, body: dict[str, Any]) -> Answer:
        number = body["leftFeatureGroup"]["id"]
        columns = [feature["name"] for feature in body["leftFeatures"]]
        where = f"WHERE {_condition(body['filter'])}" if body.get("filter") else ""
        payload = json.dumps({"group": number, "columns": columns, "where": where})
        return 200, {
            "query": "",
            "queryOnline": "",
            "onDemandFeatureGroups": [],
            "hudiCachedFeatureGroups": [],
            "hqsPayload": payload,
            "hqsPayloadSignature": self._double.signature(payload),
        }

    def _update_schema(self, number: str, body: Any) -> Answer:
        return 201, _job_of(f"{self._storage.groups[int(number)].table}_update_table_schema")

    def _group_of(self, job: str) -> Group | None:
        table = job.removesuffix("_offline_fg_materialization")
        return next((one for one in self._storage.groups.values() if one.table == table and table != job), None)

    def _job(self, job: str) -> Answer:
        if self._group_of(job) is None:
            return refusal(404, 130009, "Job not found.")
        return 200, _job_of(job) | ({"jobSchedule": schedule} if (schedule := self._double.schedules.get(job)) else {})

    def _run_job(self, job: str, body: Any) -> Answer:
        group = self._group_of(job)
        assert group is not None
        self._storage.materialise(group)
        return 201, _EXECUTION

    def _schedule(self, job: str, body: dict[str, Any]) -> Answer:
        self._double.schedules[job] = {**body, "id": self._storage.next_id()}
        return 201, self._double.schedules[job]


def _job_of(name: str) -> dict[str, Any]:
    return {
        "id": 1,
        "href": f"https://hopsworks.test/hopsworks-api/api/project/119/jobs/{name}",
        "name": name,
        "creationTime": "2026-11-27T00:00:00Z",
        "jobType": "PYSPARK",
        "creator": {},
        "config": {"type": "sparkJobConfiguration", "defaultArgs": "-op offline_fg_materialization"},
    }


def _features(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns features as the backend gives them: the first of the key is Hudi's precombine key, if none is named."""
    features = [{"primary": False, "partition": False, "hudiPrecombineKey": False, **feature} for feature in given]
    if not any(feature["hudiPrecombineKey"] for feature in features):
        next(feature for feature in features if feature["primary"])["hudiPrecombineKey"] = True
    return features


def _condition(node: dict[str, Any]) -> str:
    """Returns the tree of a query's filters as a condition of SQL."""
    if "feature" in node:
        return _comparison(node)
    if node["type"] == "SINGLE":
        return _condition(node["leftFilter"])
    parts = [node[side] for side in ("leftFilter", "leftLogic", "rightFilter", "rightLogic") if node.get(side)]
    return "(" + f" {node['type']} ".join(map(_condition, parts)) + ")"


def _comparison(node: dict[str, Any]) -> str:
    name, value, kind = node["feature"]["name"], node["value"], node["feature"]["type"]
    if node["condition"] == "IN":
        listed = ", ".join(map(_literal, json.loads(value)))
        return f'"{name}" IN ({listed})'
    literal = _literal(value) if kind == "string" else value
    return f'"{name}" {_SYMBOLS[node["condition"]]} {literal}'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
