"""Two pipelines of one name, in two namespaces, predict one pair: no answer is either's by chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2

from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import a_prediction
from tests.unit.prediction_api.conftest import ApiProcess
from tests.unit.prediction_api.test_grpc import fails

PRICES, DEMO, STOPPED = "prices.btc", "demo.btc", "gone.btc"
DAYS = 3 * 24 * 60


@pytest.fixture(scope="module")
def store(store_url: str) -> Iterator[SqlPredictionStore]:
    """BTC/USD of two pipelines, and of one that stopped days ago; ETH/USD of one of them."""
    store = SqlPredictionStore(store_url)
    store.ensure()
    store.write([a_prediction(0, pipeline=STOPPED)])
    store.write([a_prediction(DAYS + minute, pipeline=name) for minute in range(3) for name in (PRICES, DEMO)])
    store.write([a_prediction(DAYS, pipeline=PRICES, pair="ETH/USD")])
    yield store
    store.close()


ASKS: list[Any] = [
    ("Predict", pb.PredictRequest(pair="BTC/USD")),
    ("Predict", pb.PredictRequest(pair="BTC/USD", pipeline="btc")),
    ("Predict", pb.PredictRequest(pair="BTC/USD", pipeline="btc", horizon_seconds=300)),
    ("BatchPredict", pb.BatchPredictRequest(pairs=["ETH/USD", "BTC/USD"])),
    ("BatchPredict", pb.BatchPredictRequest()),
]


@pytest.mark.parametrize(("method", "asked"), ASKS)
def test_where_several_could_be_meant_they_are_listed(stub: PredictionServiceStub, method: str, asked: Any) -> None:
    info = fails(lambda: getattr(stub, method)(asked), grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata["pair"]) == ("SEVERAL_PIPELINES", "BTC/USD")
    assert info.metadata["pipelines"] == f"{DEMO}, {PRICES}"


@pytest.mark.parametrize(
    "named", [{"pipeline": PRICES}, {"pipeline": "btc", "namespace": "prices"}, {"namespace": "prices"}]
)
def test_the_one_that_is_named_answers_every_method(stub: PredictionServiceStub, named: dict[str, str]) -> None:
    answer = stub.Predict(pb.PredictRequest(pair="BTC/USD", **named)).prediction
    assert (answer.namespace, answer.pipeline) == ("prices", "btc")
    batch = stub.BatchPredict(pb.BatchPredictRequest(**named)).predictions
    assert [(each.namespace, each.pair) for each in batch] == [("prices", "BTC/USD"), ("prices", "ETH/USD")]
    history = stub.ListPredictions(pb.ListPredictionsRequest(pair="BTC/USD", **named)).predictions
    assert [each.namespace for each in history] == ["prices"] * 3
    watched = stub.WatchPredictions(pb.WatchPredictionsRequest(**named))
    assert {next(watched).prediction.namespace for _ in range(2)} == {"prices"}
    watched.cancel()
    pairs = stub.ListPairs(pb.ListPairsRequest(**named)).pairs
    assert [list(pair.pipeline_ids) for pair in pairs] == [[PRICES], [PRICES]]


def test_one_that_has_stopped_answers_if_it_alone_is_meant(stub: PredictionServiceStub) -> None:
    assert stub.Predict(pb.PredictRequest(pair="BTC/USD", pipeline=STOPPED)).prediction.namespace == "gone"


def test_an_unambiguous_pair_needs_no_name(stub: PredictionServiceStub) -> None:
    assert stub.Predict(pb.PredictRequest(pair="ETH/USD")).prediction.namespace == "prices"


def test_history_of_several_is_asked_by_name_or_whole(stub: PredictionServiceStub) -> None:
    whole = stub.ListPredictions(pb.ListPredictionsRequest(pair="BTC/USD")).predictions
    assert {each.namespace for each in whole} == {"prices", "demo", "gone"}
    asked = pb.ListPredictionsRequest(pair="BTC/USD", pipeline="btc")
    info = fails(lambda: stub.ListPredictions(asked), grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.ErrorInfo)
    assert info.metadata["pipelines"] == f"{DEMO}, {STOPPED}, {PRICES}"


def test_an_unknown_namespace_is_not_found(stub: PredictionServiceStub) -> None:
    asked = pb.PredictRequest(pair="BTC/USD", pipeline="btc", namespace="other")
    info = fails(lambda: stub.Predict(asked), grpc.StatusCode.NOT_FOUND, error_details_pb2.ErrorInfo)
    assert info.metadata["known_pipelines"] == f"{DEMO}, {STOPPED}, {PRICES}"


@pytest.mark.parametrize("path", ["/predict", "/v1/pairs/BTC-USD/prediction"])
def test_http_says_and_takes_the_same(http: httpx.Client, path: str) -> None:
    pair = {"pair": "BTC/USD"} if path == "/predict" else {}
    refused = http.get(path, params=pair)
    assert refused.status_code == 400
    assert DEMO in refused.json()["detail"]
    assert PRICES in refused.json()["detail"]
    for named in ({"pipeline": PRICES}, {"pipeline": "btc", "namespace": "prices"}):
        assert http.get(path, params={**pair, **named}).json()["namespace"] == "prices"


def test_the_command_passes_the_name_on(api: ApiProcess, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pricecast_cli.main import app

    given = ["predict", "BTC/USD", "--address", api.http]
    assert CliRunner().invoke(app, given).exit_code != 0
    answer = CliRunner().invoke(app, [*given, "--pipeline", PRICES])
    assert answer.exit_code == 0, answer.output
    assert '"namespace": "prices"' in answer.output
