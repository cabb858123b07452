"""The trades service over a real Kafka: transactions, fencing and resuming as on the embedded broker."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import admin as kafka_admin

from tests.integration.test_trades import BAD_LINES, csv_of_trades
from tests.integration.trades_process import Kafka, letters, replay_through_kills, running, told, trades
from tests.waiting import eventually

PARTITIONS = 3


@pytest.fixture
def kafka(kafka_brokers: str) -> Kafka:
    place = Kafka(kafka_brokers, f"trades-{uuid.uuid4().hex[:8]}")
    admin: Any = kafka_admin
    client = admin.AdminClient({"bootstrap.servers": kafka_brokers})
    client.create_topics([admin.NewTopic(f"{place.pipeline}.trades", PARTITIONS, 1)])[
        f"{place.pipeline}.trades"
    ].result(30)
    return place


def test_a_replay_killed_at_any_moment_is_whole_once_it_has_finished(kafka: Kafka, tmp_path: Path) -> None:
    files = [tmp_path / "XBTUSD.csv", tmp_path / "ETHUSD.csv"]
    expected = [csv_of_trades(files[0], 60_000, BAD_LINES), csv_of_trades(files[1], 60_000, {})]
    paths = json.dumps([str(file) for file in files])
    replay_through_kills(kafka, tmp_path, 1.0, PAIRS="BTC/USD,ETH/USD", REPLAY_FILES=paths)
    assert [told(trades(kafka, pair)) for pair in ("BTC/USD", "ETH/USD")] == expected
    assert [letter.offset for letter in letters(kafka)] == sorted(BAD_LINES.keys() - {1})  # a header


def test_a_second_process_shuts_the_first_one_out(kafka: Kafka, tmp_path: Path) -> None:
    settings = {"SOURCE": "simulated", "SINCE": "10m", "SIMULATION_TRADES_PER_SECOND": "50"}
    with running(kafka, tmp_path, **settings) as first:
        eventually(lambda: trades(kafka))
        with running(kafka, tmp_path, **settings) as second:
            assert first.wait() == 1
            eventually(lambda: second.metric("pricecast_event_time_seconds") > time.time() - 5)
    ids = [trade.trade_id for trade in trades(kafka)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids, key=lambda number: number or 0)
