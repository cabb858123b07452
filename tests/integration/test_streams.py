"""Trades to stored features through real processes over the embedded broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_core import services, topics
from pricecast_core.health import Health
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming import Publisher, Stream, StreamTask
from pricecast_embedded_broker import EmbeddedBroker
from tests.contracts.stream_chain import Chain, pandas_candles, read_trades, trades_file
from tests.contracts.streams import StreamsContract
from tests.waiting import eventually


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path / "own-broker")
    yield broker
    broker.stop()


class TestOnTheEmbeddedBroker(StreamsContract):
    pass


def test_another_replica_takes_over_from_one_that_is_killed(tmp_path: Path) -> None:
    pairs = [f"P{number}/USD" for number in range(8)]
    broker = EmbeddedBroker(tmp_path / "broker", partitions=4)
    broker.start()
    chain = Chain(broker.address, tmp_path, pairs)
    try:
        for replica in range(2):
            chain.start("candles", replica)
        chain.await_ready()
        trades = read_trades(trades_file())[:1000]
        for half in (trades[:500], trades[500:]):
            for pair in pairs:
                chain.publish(half, pair)
            if "candles/1" in chain.processes:
                chain.kill("candles/1")  # for good: its state goes on from the changelog, elsewhere
                del chain.processes["candles/1"]
        expected = pandas_candles(trades)
        count = len(expected) * len(pairs)
        candles = eventually(lambda: (found := chain.read(topics.CANDLES)) and len(found) >= count and found, "candles")
        assert len(candles) == count
        for pair in pairs:
            mine = [candle for candle in candles if candle.pair == pair]
            assert [candle.window_start_ms for candle in mine] == expected["window_start_ms"].to_list()
            assert [candle.volume for candle in mine] == expected["volume"].to_list()
    finally:
        chain.close()
        broker.stop()


class Stuck(StreamTask[Trade]):
    """A task that stands still until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.handled = 0

    def handle(self, message: Trade, partition: int) -> None:
        self.go.wait()
        self.handled += 1

    def checkpoint(self) -> None:
        pass

    def discard(self) -> None:
        pass


def test_a_stream_that_stands_still_before_waiting_messages_fails_its_liveness(brokers: str, tmp_path: Path) -> None:
    settings = StreamSettings(
        pipeline="stuck", kafka_brokers=brokers, state_dir=tmp_path, stall_timeout_seconds=5, instance="stuck-0"
    )
    stop, health, task = Stop(), Health(), Stuck()
    publisher = Publisher("trades", settings, [topics.TRADES], Health(), stop)
    for number in range(10):
        trade = Trade(pair="BTC/USD", price=1.0, volume=1.0, timestamp_ms=1_767_225_600_000 + number)
        publisher.publish(topics.TRADES, trade.pair, trade)
    publisher.flush()
    stream = Stream(services.CANDLES, settings, task, health, stop)
    thread = threading.Thread(target=stream.run)
    thread.start()
    status, body = eventually(lambda: (answer := health.report(health._alive))[0] == 503 and answer, "stall")
    assert status == 503
    assert "stuck.trades[0] stands at offset" in body["problems"]["progress"]
    task.go.set()
    eventually(lambda: task.handled == 10 and health.report(health._alive)[0] == 200, "moves")
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    publisher.close()
