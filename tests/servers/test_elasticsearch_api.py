"""The prediction API over a real Elasticsearch: at once when all is well, honest while it is down, back by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2

from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from pricecast_testbed import Elasticsearch
from tests.contracts.predictions import a_prediction, scored
from tests.unit.prediction_api.conftest import ApiProcess
from tests.unit.prediction_api.test_grpc import fails
from tests.waiting import eventually


@pytest.mark.timeout(600)
def test_predictions_are_served_through_an_outage_of_elasticsearch(
    own_server: Callable[[type[Elasticsearch]], Elasticsearch], tmp_path: Path
) -> None:
    server = own_server(Elasticsearch)
    store = ElasticsearchPredictionStore(server.url, refresh=True)
    api = ApiProcess(tmp_path / "log", PREDICTION_STORE="elasticsearch", PREDICTION_STORE_URL=server.url)
    try:
        api.wait_ready()  # over an empty cluster that nobody prepared
        store.ensure()
        store.write([scored(a_prediction(0)), a_prediction(1)])
        with grpc.insecure_channel(api.grpc) as channel, httpx.Client(base_url=api.http) as http:
            stub = PredictionServiceStub(channel)
            eventually(lambda: http.get("/v1/pairs/BTC/USD/prediction").status_code == 200)
            history = stub.ListPredictions(pb.ListPredictionsRequest(pair="BTC/USD")).predictions
            assert [p.HasField("outcome") for p in history] == [False, True]
            watch = stub.WatchPredictions(pb.WatchPredictionsRequest(), timeout=300)
            assert next(watch).prediction.last_price == a_prediction(1).last_price

            server.kill()
            eventually(lambda: http.get("/health").status_code == 503)
            fails(
                lambda: stub.Predict(pb.PredictRequest(pair="BTC/USD")),
                grpc.StatusCode.UNAVAILABLE,
                error_details_pb2.RetryInfo,
            )
            server.start()
            eventually(lambda: http.get("/health").status_code == 200)
            store.write([a_prediction(2)])
            assert next(watch).prediction.last_price == a_prediction(2).last_price  # the watch went on
            assert stub.Predict(pb.PredictRequest(pair="BTC/USD")).prediction.last_price == a_prediction(2).last_price
            watch.cancel()
        assert api.stop() == 0
    finally:
        api.close()
        store.close()
