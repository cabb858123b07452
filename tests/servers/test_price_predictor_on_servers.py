"""Forecasts through real Kafka and Elasticsearch: kills as on the embedded stores, and a minute without each server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from elasticsearch import Elasticsearch as Elastic

from pricecast_core import topics
from pricecast_embedded_broker import running
from pricecast_operator.observe.told import told_by
from pricecast_testbed import Elasticsearch, Kafka, Server
from tests.contracts.forecasts import LEARNED, PAIR, Forecasts, ForecastsContract, market
from tests.unit.prediction_api.conftest import ApiProcess
from tests.waiting import eventually

OUTAGE_SECONDS = 60.0


class TestOnKafkaAndElasticsearch(ForecastsContract):
    @pytest.fixture
    def brokers(self, kafka_brokers: str) -> str:
        return kafka_brokers

    @pytest.fixture
    def elasticsearch(self, elasticsearch_url: str) -> str:
        return elasticsearch_url


@pytest.mark.timeout(900)
def test_a_minute_without_elasticsearch_and_one_without_kafka_lose_no_forecast(
    own_server: Callable[[type[Server]], Server], tmp_path: Path
) -> None:
    kafka, elasticsearch = own_server(Kafka), own_server(Elasticsearch)
    forecasts = Forecasts(kafka.url, tmp_path, elasticsearch.url)
    api = ApiProcess(tmp_path / "api.log", PREDICTION_STORE="elasticsearch", PREDICTION_STORE_URL=elasticsearch.url)
    rows = market(LEARNED + 60)
    end_ms = rows["window_end_ms"].to_list()
    try:
        serving = forecasts.begin("serve")
        forecasts.add(rows[:LEARNED])
        forecasts.await_ready("serve")
        eventually(
            lambda: forecasts.made() and forecasts.made()[-1].feature_time_ms == end_ms[LEARNED - 1], "forecasts"
        )

        elasticsearch.kill()
        down = time.monotonic()
        forecasts.add(rows[LEARNED : LEARNED + 30])
        eventually(lambda: "stores" in (forecasts.health("serve") or {}).get("problems", {}), "predictor says so")
        eventually(lambda: httpx.get(f"{api.http}/health").status_code == 503, "API says so")
        assert (forecasts.health("serve", "/healthz") or {})["ok"]
        eventually(lambda: time.monotonic() - down > OUTAGE_SECONDS, "a minute")
        elasticsearch.start()
        forecasts.await_ready("serve")
        eventually(lambda: forecasts.made()[-1].feature_time_ms == end_ms[LEARNED + 29], "forecasts of the outage")

        kafka.kill()
        down = time.monotonic()
        eventually(lambda: "broker" in (forecasts.health("serve") or {}).get("problems", {}), "predictor says so")
        assert httpx.get(f"{api.http}/predict?pair={PAIR}").status_code == 200  # what is known is still served
        eventually(lambda: time.monotonic() - down > OUTAGE_SECONDS, "a minute")
        kafka.start()
        forecasts.add(rows[LEARNED + 30 :])
        eventually(lambda: forecasts.made()[-1].feature_time_ms == end_ms[-1], "forecasts after the outage")
        forecasts.await_ready("serve")

        horizon = 5
        made = eventually(
            lambda: (
                (found := forecasts.made())
                and sum(one.actual_price is not None for one in found) == len(found) - horizon
                and found
            ),
            "all scored",
        )
        first = end_ms.index(made[0].feature_time_ms)
        assert first < LEARNED
        assert [one.feature_time_ms for one in made] == end_ms[first:]
        assert {one.id for one in forecasts.read(topics.PREDICTIONS)} == {one.id for one in made}
        eventually(lambda: httpx.get(f"{api.http}/health").status_code == 200, "API is well again")
        served = httpx.get(f"{api.http}/predict?pair={PAIR}").json()
        assert served["last_price"] == made[-1].last_price
        assert serving.poll() is None
        assert api.stop() == 0
    finally:
        api.close()
        forecasts.close()


@pytest.mark.timeout(600)
def test_a_full_disk_of_elasticsearch_is_what_the_operator_hears_of_the_predictor(
    elasticsearch_url: str, tmp_path: Path
) -> None:
    """The block is the one that Elasticsearch puts on indices over its flood stage."""
    rows = market(LEARNED + 20)
    with running() as broker, Elastic(elasticsearch_url) as client:
        forecasts = Forecasts(broker, tmp_path, elasticsearch_url)
        try:
            forecasts.begin("serve")
            forecasts.add(rows[:LEARNED])
            forecasts.await_ready("serve")
            eventually(forecasts.made, "forecasts")
            port = int(forecasts.address("serve").rpartition(":")[2])
            _block(client, True)
            forecasts.add(rows[LEARNED:])
            told = eventually(
                lambda: (said := told_by("127.0.0.1", port).problem) and "disk is full" in said and said, "told"
            )
            assert "pricecast-" in told  # which index
            assert "free space" in told
            _block(client, None)
            forecasts.await_ready("serve")
            assert told_by("127.0.0.1", port).problem == ""
            last = int(rows["window_end_ms"][-1])
            eventually(lambda: forecasts.made()[-1].feature_time_ms == last, "the forecasts that waited")
        finally:
            _block(client, None)
            forecasts.close()


def _block(client: Elastic, block: bool | None) -> None:
    client.indices.put_settings(index="pricecast-*", settings={"index.blocks.read_only_allow_delete": block})
