"""Batches that are there whole or not at all, and the end of a topic that says where to resume."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pricecast_core.messages import Trade, decode
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming import FencedError, StreamError, TransactionalPublisher, ensure_topics, last_values
from pricecast_core.topics import TRADES
from pricecast_embedded_broker import EmbeddedBroker

PAIRS = ["BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path / "data", partitions=3)
    broker.start()
    yield broker
    broker.stop()


def settings(broker: EmbeddedBroker) -> StreamSettings:
    chosen = StreamSettings(pipeline="t", kafka_brokers=broker.address)
    ensure_topics(broker.address, "t", [TRADES])
    return chosen


def trade(pair: str, number: int) -> tuple[Any, str, Trade]:
    message = Trade(pair=pair, price=1.0, volume=1.0, trade_id=number, timestamp_ms=1_700_000_000_000 + number)
    return TRADES, pair, message


def newest(broker: EmbeddedBroker, pairs: list[str] = PAIRS) -> dict[str, int | None]:
    found = last_values(broker.address, "t.trades", pairs)
    return {pair: decode(Trade, values[-1]).trade_id for pair, values in found.items()}


def test_the_newest_of_each_key_is_found_however_far_back_it_is(broker: EmbeddedBroker) -> None:
    publisher = TransactionalPublisher("trades", settings(broker), Stop())
    publisher.write([trade("ETH/USD", 1)])
    for start in range(0, 30_000, 10_000):
        publisher.write(trade("BTC/USD", start + number) for number in range(10_000))
    publisher.write([trade("SOL/USD", 5)])
    assert newest(broker) == {"BTC/USD": 29_999, "ETH/USD": 1, "SOL/USD": 5}
    assert newest(broker, ["SOL/USD"]) == {"SOL/USD": 5}


def test_as_many_are_found_as_asked_for_or_all(broker: EmbeddedBroker) -> None:
    publisher = TransactionalPublisher("trades", settings(broker), Stop())
    for number in range(1_500):  # a batch each: half of the offsets are markers
        publisher.write([trade("BTC/USD", number)])
    found = last_values(broker.address, "t.trades", ["BTC/USD"], lambda _, values: len(values) >= 1_000)["BTC/USD"]
    ids = [decode(Trade, value).trade_id for value in found]
    assert len(ids) >= 1_000
    assert ids == list(range(1_500 - len(ids), 1_500))
    assert len(last_values(broker.address, "t.trades", ["BTC/USD"], lambda _, _values: False)["BTC/USD"]) == 1_500


def test_a_topic_that_is_not_there_has_no_values(broker: EmbeddedBroker) -> None:
    assert last_values(broker.address, "nothing.trades", PAIRS) == {}


def test_a_batch_cut_short_was_never_there_and_its_writer_is_shut_out(broker: EmbeddedBroker) -> None:
    chosen = settings(broker)
    first = TransactionalPublisher("trades", chosen, Stop())
    first.write([trade("BTC/USD", 1)])
    producer: Producer = first._producer
    producer.begin_transaction()
    producer.produce("t.trades", b"{}", b"BTC/USD")
    producer.flush(60)
    second = TransactionalPublisher("trades", chosen, Stop())
    assert newest(broker) == {"BTC/USD": 1}
    with pytest.raises(FencedError, match="another process"):
        first._patiently(producer.commit_transaction)
    second.write([trade("BTC/USD", 2)])
    assert newest(broker) == {"BTC/USD": 2}


def test_opening_waits_for_a_broker_and_says_so(broker: EmbeddedBroker) -> None:
    chosen = settings(broker)
    broker.stop()
    told: list[str | None] = []
    threading.Timer(5, broker.start).start()
    TransactionalPublisher("trades", chosen, Stop(), told.append).write([trade("BTC/USD", 1)])
    assert any(told)
    assert told[-1] is None


def test_once_asked_to_stop_it_waits_for_seconds_only(broker: EmbeddedBroker) -> None:
    stop = Stop()
    publisher = TransactionalPublisher("trades", settings(broker), stop)
    broker.stop()
    threading.Timer(1, stop.set).start()
    started = time.monotonic()
    with pytest.raises(StreamError):
        publisher.write([trade("BTC/USD", 1)])
    assert time.monotonic() - started < 30
