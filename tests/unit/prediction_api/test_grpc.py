"""The five methods, health, reflection and rich errors, by real gRPC clients."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.convert import timestamp
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import a_prediction
from tests.waiting import eventually


def fails(call: Any, code: grpc.StatusCode, detail: type[Any]) -> Any:
    """Asserts that the call fails with the code, and returns its one detail of the given class."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code
    status = rpc_status.from_call(caught.value)
    assert status.message == caught.value.details()
    for packed in status.details:
        message = detail()
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {detail.__name__} in {status}")


def test_predict_gives_the_latest_of_the_shortest_horizon_with_all_that_is_known(stub: PredictionServiceStub) -> None:
    expected = a_prediction(49)
    got = stub.Predict(pb.PredictRequest(pair="BTC/USD")).prediction
    assert (got.pair, got.horizon_seconds, got.pipeline) == ("BTC/USD", 300, "btc")
    assert (got.predicted_price, got.lower, got.upper) == (expected.predicted_price, expected.lower, expected.upper)
    assert got.target_time == timestamp(expected.target_time_ms)
    assert got.feature_time == timestamp(expected.feature_time_ms)
    assert got.issued_at.ToMilliseconds() == expected.issued_at_ms
    assert (got.model_name, got.model_version) == ("btc-btc-usd-300s", 3)
    assert (got.skill.distribution, got.skill.point) == (0.031, -0.002)
    assert (got.beats_naive, got.point_is_naive, got.simulated) == (True, True, False)
    assert not got.HasField("outcome")


def test_a_simulated_market_is_said_to_be_one(stub: PredictionServiceStub) -> None:
    assert stub.Predict(pb.PredictRequest(pair="ETH/USD")).prediction.simulated
    assert [pair.simulated for pair in stub.ListPairs(pb.ListPairsRequest()).pairs] == [False, True]


@pytest.mark.parametrize("pair", ["BTC-USD", "btc/usd", "XBT/USD"])
def test_a_pair_is_understood_in_other_spellings(stub: PredictionServiceStub, pair: str) -> None:
    assert stub.Predict(pb.PredictRequest(pair=pair)).prediction.pair == "BTC/USD"


def test_an_unknown_pair_is_not_found_and_the_known_ones_are_named(stub: PredictionServiceStub) -> None:
    info = fails(
        lambda: stub.Predict(pb.PredictRequest(pair="DOGE/USD")),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ErrorInfo,
    )
    assert (info.reason, info.domain) == ("UNKNOWN_PAIR", "pricecast.dev")
    assert info.metadata["known_pairs"] == "BTC/USD, ETH/USD"


def test_an_unknown_horizon_or_pipeline_is_not_found_and_the_known_ones_are_named(stub: PredictionServiceStub) -> None:
    info = fails(
        lambda: stub.Predict(pb.PredictRequest(pair="BTC/USD", horizon_seconds=60)),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ErrorInfo,
    )
    assert info.metadata["known_horizons"] == "300, 900"
    info = fails(
        lambda: stub.Predict(pb.PredictRequest(pair="BTC/USD", pipeline="demo")),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ErrorInfo,
    )
    assert info.metadata["known_pipelines"] == "btc"


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("Predict", pb.PredictRequest(), "pair"),
        ("Predict", pb.PredictRequest(pair="bitcoin"), "pair"),
        ("Predict", pb.PredictRequest(pair="BTC/USD", horizon_seconds=-1), "horizon_seconds"),
        ("BatchPredict", pb.BatchPredictRequest(pairs=["BTC/USD", "?"]), "pairs[1]"),
        ("BatchPredict", pb.BatchPredictRequest(pairs=["BTC/USD"] * 101), "pairs"),
        ("ListPredictions", pb.ListPredictionsRequest(pair="BTC/USD", page_size=-1), "page_size"),
        ("ListPredictions", pb.ListPredictionsRequest(pair="BTC/USD", page_token="x"), "page_token"),
        (
            "ListPredictions",
            pb.ListPredictionsRequest(pair="BTC/USD", start_time=timestamp(2000), end_time=timestamp(1000)),
            "end_time",
        ),
    ],
)
def test_an_invalid_field_is_named(stub: PredictionServiceStub, method: str, request_: Any, field: str) -> None:
    bad = fails(lambda: getattr(stub, method)(request_), grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == [field]
    assert bad.field_violations[0].description


def test_a_batch_answers_in_the_order_asked_or_for_every_pair(stub: PredictionServiceStub) -> None:
    some = stub.BatchPredict(pb.BatchPredictRequest(pairs=["ETH/USD", "BTC/USD"]))
    assert [p.pair for p in some.predictions] == ["ETH/USD", "BTC/USD"]
    every = stub.BatchPredict(pb.BatchPredictRequest())
    assert [p.pair for p in every.predictions] == ["BTC/USD", "ETH/USD"]
    long = stub.BatchPredict(pb.BatchPredictRequest(horizon_seconds=900))
    assert [(p.pair, p.horizon_seconds) for p in long.predictions] == [("BTC/USD", 900)]


def test_a_batch_with_an_unknown_pair_fails_whole(stub: PredictionServiceStub) -> None:
    info = fails(
        lambda: stub.BatchPredict(pb.BatchPredictRequest(pairs=["BTC/USD", "DOGE/USD"])),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ErrorInfo,
    )
    assert info.metadata["pair"] == "DOGE/USD"


def test_history_comes_by_page_with_what_came_of_it(stub: PredictionServiceStub) -> None:
    request = pb.ListPredictionsRequest(pair="BTC/USD", horizon_seconds=300, page_size=20)
    found = []
    while True:
        page = stub.ListPredictions(request)
        found.extend(page.predictions)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert [p.feature_time for p in found] == [timestamp(a_prediction(m).feature_time_ms) for m in range(49, -1, -1)]
    assert [p.HasField("outcome") for p in found] == [False] * 10 + [True] * 40
    assert found[-1].outcome.absolute_error == pytest.approx(9.5)
    assert found[-1].outcome.naive_absolute_error == pytest.approx(20.0)
    assert found[-1].outcome.inside_interval
    assert (found[-1].outcome.pinball_loss, found[-1].outcome.naive_pinball_loss) == (0.0001, 0.0002)


def test_history_is_bounded_by_time(stub: PredictionServiceStub) -> None:
    page = stub.ListPredictions(
        pb.ListPredictionsRequest(
            pair="BTC/USD",
            horizon_seconds=300,
            start_time=timestamp(a_prediction(3).target_time_ms),
            end_time=timestamp(a_prediction(5).target_time_ms),
        )
    )
    assert len(page.predictions) == 3
    assert not page.next_page_token


def test_history_of_an_unknown_pair_is_not_found(stub: PredictionServiceStub) -> None:
    fails(
        lambda: stub.ListPredictions(pb.ListPredictionsRequest(pair="DOGE/USD")),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ErrorInfo,
    )


def test_watch_gives_the_latest_at_once_and_then_what_is_new(
    stub: PredictionServiceStub, store: SqlPredictionStore
) -> None:
    store.write([a_prediction(1, pair="XRP/USD")])
    eventually(lambda: "XRP/USD" in [pair.pair for pair in stub.ListPairs(pb.ListPairsRequest()).pairs])
    stream = stub.WatchPredictions(pb.WatchPredictionsRequest(pairs=["XRP-USD"]), timeout=30)
    times = []
    for minute, response in enumerate(stream, start=1):
        times.append(response.prediction.feature_time)
        if minute == 4:
            break
        store.write([a_prediction(minute + 1, pair="XRP/USD"), a_prediction(minute + 50)])
    stream.cancel()
    assert times == [timestamp(a_prediction(minute).feature_time_ms) for minute in (1, 2, 3, 4)]


def test_watching_an_unknown_pair_is_not_found(stub: PredictionServiceStub) -> None:
    fails(
        lambda: next(stub.WatchPredictions(pb.WatchPredictionsRequest(pairs=["DOGE/USD"]))),
        grpc.StatusCode.NOT_FOUND,
        error_details_pb2.ErrorInfo,
    )


def test_a_deadline_ends_a_watch(stub: PredictionServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.WatchPredictions(pb.WatchPredictionsRequest(pipeline="none"), timeout=0.3))
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("service", ["", "pricecast.v1.PredictionService"])
def test_health_says_serving(channel: grpc.Channel, service: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_service_to_a_client_without_protos(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"pricecast.v1.PredictionService", "grpc.health.v1.Health"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName("pricecast.v1.PredictionService")
    assert set(service.methods_by_name) == {
        "Predict",
        "BatchPredict",
        "ListPredictions",
        "WatchPredictions",
        "ListPairs",
        "ListScores",
        "ListPipelines",
        "GetCalibration",
        "ListCandles",
        "ListNews",
        "ListModelVersions",
    }
