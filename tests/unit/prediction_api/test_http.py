"""The same methods over HTTP: annotations, JSON mapping, events, problems, OpenAPI, and the original API's paths."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.gen.pricecast.v1 import prediction_pb2
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import a_prediction
from tests.waiting import eventually

PAGE = Path(__file__).parents[3] / "services" / "prediction-api" / "page"


@pytest.mark.parametrize("pair", ["BTC/USD", "BTC-USD", "btc-usd", "BTC%2FUSD", "XBT/USD"])
def test_a_prediction_is_the_message_that_grpc_gives(
    http: httpx.Client, stub: PredictionServiceStub, pair: str
) -> None:
    answer = http.get(f"/v1/pairs/{pair}/prediction", params={"horizonSeconds": 900})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    message = json_format.Parse(answer.text, prediction_pb2.Prediction())
    assert message == stub.Predict(pb.PredictRequest(pair="BTC/USD", horizon_seconds=900)).prediction


def test_fields_at_their_defaults_are_said(http: httpx.Client) -> None:
    assert http.get("/v1/pairs/BTC/USD/prediction").json()["simulated"] is False


def test_a_batch_can_be_asked_for_by_query_or_by_body(http: httpx.Client) -> None:
    answers = [
        http.get("/v1/predictions:batch", params={"pairs": "BTC/USD,ETH/USD"}),
        http.get("/v1/predictions:batch", params={"pairs": ["BTC-USD", "ETH-USD"]}),
        http.post("/v1/predictions:batch", json={"pairs": ["BTC/USD", "ETH/USD"]}),
        http.get("/v1/predictions:batch"),
    ]
    assert [[p["pair"] for p in answer.json()["predictions"]][:2] for answer in answers] == [["BTC/USD", "ETH/USD"]] * 4


def test_history_comes_by_page(http: httpx.Client) -> None:
    query = {"horizon_seconds": "300", "page_size": "30", "end_time": "2026-01-01T00:54:00Z"}
    first = http.get("/v1/pairs/BTC-USD/predictions", params=query).json()
    second = http.get("/v1/pairs/BTC-USD/predictions", params={**query, "page_token": first["nextPageToken"]}).json()
    times = [p["featureTime"] for page in (first, second) for p in page["predictions"]]
    assert len(times) == 50
    assert times == sorted(times, reverse=True)
    assert second["nextPageToken"] == ""
    assert second["predictions"][-1]["outcome"]["insideInterval"] is True


def test_pairs_are_listed(http: httpx.Client) -> None:
    pairs = {pair["pair"]: pair for pair in http.get("/v1/pairs").json()["pairs"]}
    assert pairs["BTC/USD"] == {
        "pair": "BTC/USD",
        "horizonsSeconds": [300, 900],
        "pipelines": ["btc"],
        "pipelineIds": ["btc"],
        "simulated": False,
    }


@pytest.mark.parametrize(
    ("verb", "path", "status", "code"),
    [
        ("GET", "/v1/pairs/DOGE/USD/prediction", 404, "NOT_FOUND"),
        ("GET", "/v1/pairs/bitcoin/prediction", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/pairs/BTC/USD/prediction?horizonSeconds=soon", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/pairs/BTC/USD/prediction?colour=red", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/pairs/BTC/USD/predictions?startTime=yesterday", 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/predictions:watch?pairs=DOGE/USD", 404, "NOT_FOUND"),
        ("GET", "/v1/nothing", 404, "NOT_FOUND"),
        ("DELETE", "/v1/pairs", 405, "UNIMPLEMENTED"),
        ("GET", "/predict", 400, "INVALID_ARGUMENT"),
        ("GET", "/predict?pair=DOGE/USD", 404, "NOT_FOUND"),
    ],
)
def test_an_error_is_a_problem_that_says_what_to_do(
    http: httpx.Client, verb: str, path: str, status: int, code: str
) -> None:
    answer = http.request(verb, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]


def test_a_problem_carries_the_details_of_grpc(http: httpx.Client) -> None:
    [info] = http.get("/v1/pairs/DOGE/USD/prediction").json()["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert "BTC/USD" in info["metadata"]["known_pairs"]
    assert http.delete("/v1/pairs").headers["allow"] == "GET"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b'{"pairs": 7}', b'{"colour": 1}', b"\xff\xfe", b"[" * 9999])
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, body: bytes) -> None:
    assert http.post("/v1/predictions:batch", content=body).status_code == 400


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(max_size=30), query=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3))
def test_nothing_that_is_asked_makes_the_server_fail(http: httpx.Client, path: str, query: dict[str, str]) -> None:
    segments = "".join(f"%{byte:02X}" for byte in path.encode())
    for url in (f"/v1/pairs/{segments}/prediction", f"/v1/{segments}"):
        assert http.get(url, params=query).status_code in (200, 400, 404)


def pages(http: httpx.Client, **query: str) -> httpx.Response:
    return http.get("/v1/pairs/BTC-USD/predictions", params={"page_size": "2", **query})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_page_token_changed_by_hand_is_400_and_never_500(http: httpx.Client, data: st.DataObject) -> None:
    given = pages(http).json()["nextPageToken"]
    position = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())
    position[data.draw(st.integers(0, len(position) - 1))] = data.draw(anything)
    changed = base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")
    at = data.draw(st.integers(0, len(given) - 1))
    letter = data.draw(st.characters(codec="utf-8"))
    for token in (changed, given[:at] + letter + given[at + 1 :], given[:at], given + letter):
        answer = pages(http, page_token=token)
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert "page_token" in answer.json()["detail"]


def test_watch_is_a_stream_of_server_sent_events(http: httpx.Client, store: SqlPredictionStore) -> None:
    store.write([a_prediction(1, pair="LTC/USD")])
    eventually(lambda: http.get("/v1/pairs/LTC/USD/prediction").status_code == 200)
    seen: list[Any] = []
    with http.stream("GET", "/v1/predictions:watch", params={"pairs": "LTC/USD"}, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: "))["prediction"]["featureTime"])
                if len(seen) == 3:
                    break
                store.write([a_prediction(len(seen) + 1, pair="LTC/USD")])
    assert seen == ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z", "2026-01-01T00:03:00Z"]


def test_an_event_stream_opens_while_there_is_nothing_to_say(http: httpx.Client) -> None:
    with http.stream("GET", "/v1/predictions:watch", params={"pipeline": "none"}, timeout=10) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_lines()) == ": keep-alive"


def test_the_original_api_answers_as_it_did(http: httpx.Client) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    answer = http.get("/predict", params={"pair": "ETH/USD"}).json()
    assert answer["pair"] == "ETH/USD"
    assert answer["predicted_price"] == a_prediction(49).predicted_price
    assert answer["simulated"] is True


def test_the_openapi_document_names_each_path_that_answers(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for path, operations in document["paths"].items():
        if "get" in operations and "watch" not in path:
            assert http.get(path.replace("{pair}", "BTC-USD")).status_code == 200


def test_the_page_loads_only_from_its_own_server(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^"]*)"', page.text)
    assert len(loaded) == 3
    for path in [*loaded, "page/licences.txt", "openapi.json"]:
        assert http.get(f"/{path}").status_code == 200
    assert not re.search(r"<style|\sstyle=|\son\w+=", page.text)


def test_the_page_reads_only_fields_that_the_api_has(http: httpx.Client) -> None:
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    types = (PAGE / "src" / "api.ts").read_text()
    told = dict(re.findall(r"export interface (\w+) \{(.*?)\n?\}\n", types, re.DOTALL))
    checked = {
        name: set(re.findall(r"(?:^|[{;\n])\s*(\w+)\??:", body)) for name, body in told.items() if name in schemas
    }
    assert {"Prediction", "Outcome", "Candle", "NewsItem", "ModelVersion", "Calibration", "PipelineState"} <= set(
        checked
    )
    for name, fields in checked.items():
        assert fields <= set(schemas[name]["properties"]), name
