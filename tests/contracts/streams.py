"""What must hold of the stream services on every broker.

A subclass of `StreamsContract` gives the fixtures `brokers`, `host:port` of a broker, and `own_broker`, one that may be
taken away.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from pricecast_core import topics
from pricecast_core.messages import Candle, DeadLetter, FeatureRowStored, NewsSignal
from pricecast_core.topics import topic_name
from pricecast_technical_indicators import formulas
from tests.contracts.stream_chain import (
    PAIR,
    SERVICES,
    Chain,
    assert_equal_bits,
    eventually,
    expected_rows,
    in_pieces,
    pandas_candles,
    read_trades,
    trades_file,
)


class OwnBroker(Protocol):
    """A broker that a test may take away and bring back."""

    @property
    def address(self) -> str:
        """`host:port`, the same for its whole life."""

    def start(self) -> object:
        """Starts it, with the data it had."""

    def stop(self) -> None:
        """Takes it away."""


class StreamsContract:
    @pytest.fixture
    def chain(self, brokers: str, tmp_path: Path) -> Iterator[Chain]:
        chain = Chain(brokers, tmp_path)
        yield chain
        chain.close()

    def test_a_replay_gives_exactly_pandas_candles_and_the_batchs_rows(self, chain: Chain) -> None:
        trades = read_trades(trades_file())
        chain.publish(trades)
        for service in SERVICES:
            chain.start(service)
        expected = expected_rows(trades)
        stored = chain.await_rows(expected.height)
        assert_equal_bits(stored, expected)
        candles = chain.read(topics.CANDLES)
        pandas = pandas_candles(trades)
        for name in (*formulas.COLUMNS, "trade_count", "window_start_ms"):
            assert [getattr(candle, name) for candle in candles] == pandas[name].to_list(), name
        markers: list[FeatureRowStored] = eventually(
            lambda: (found := chain.read(topics.FEATURES)) and len(found) >= expected.height and found, "markers"
        )
        assert [marker.event_time_ms for marker in markers] == stored["window_end_ms"].to_list()
        assert chain.read(topics.DEAD_LETTERS) == []

    def test_a_file_through_the_trades_service_killed_and_replayed_again_gives_each_row_once(
        self, chain: Chain
    ) -> None:
        trades = read_trades(trades_file())
        expected = expected_rows(trades)
        replay = {"SOURCE": "replay", "REPLAY_FILES": msgspec.json.encode([str(trades_file())]).decode()}
        for service in SERVICES:
            chain.start(service)
        chain.start("trades", **replay)
        eventually(lambda: chain.read(topics.TRADES), "some trades")
        chain.kill("trades")
        for _ in range(2):
            chain.start("trades", **replay)
            assert chain.processes["trades"].wait(timeout=120) == 0
        assert_equal_bits(chain.await_rows(expected.height), expected)
        assert len(chain.read(topics.TRADES)) == len(trades)
        closes = [candle.close for candle in chain.read(topics.CANDLES)]
        assert closes == pandas_candles(trades)["close"].to_list()
        assert chain.read(topics.DEAD_LETTERS) == []

    def test_what_is_made_of_old_trades_is_kept_from_now_on(self, chain: Chain) -> None:
        """Topics keep messages for days since Kafka's timestamp: with the event's, a replay of 2026 would be deleted."""
        begin_ms = int(time.time() * 1000) - 60_000
        trades = read_trades(trades_file())
        assert trades[-1][0] < begin_ms
        chain.publish(trades)
        for service in SERVICES:
            chain.start(service)
        chain.await_rows(expected_rows(trades).height)
        eventually(lambda: chain.read(topics.FEATURES), "markers")
        for topic in (topics.TRADES, topics.CANDLES, topics.TECHNICAL_INDICATORS, topics.FEATURES):
            assert min(chain.written_ms(topic)) >= begin_ms, topic.name

    def test_services_killed_at_random_moments_lose_and_double_nothing(self, chain: Chain) -> None:
        trades = read_trades(trades_file())
        expected = expected_rows(trades)
        for service in SERVICES:
            chain.start(service)
        chain.await_ready()
        kills = 0
        with in_pieces(chain, trades, pieces=150, pause_seconds=0.1) as publishing:
            rng = random.Random(len(trades))
            while (
                publishing.is_alive() or kills < 3
            ):  # on a busy machine a service starts for longer than all is published
                time.sleep(rng.random())  # a random moment, not a wait for anything
                victim = rng.choice(SERVICES)
                chain.kill(victim)
                chain.start(victim)
                kills += 1
                chain.await_ready(victim)
        assert_equal_bits(chain.await_rows(expected.height), expected)
        candles: list[Candle] = chain.read(topics.CANDLES)
        assert [candle.window_start_ms for candle in candles] == pandas_candles(trades)["window_start_ms"].to_list()
        assert chain.read(topics.DEAD_LETTERS) == []

    def test_bad_trades_become_dead_letters_with_reasons_and_the_stream_goes_on(self, chain: Chain) -> None:
        chain.start("candles")
        trades = read_trades(trades_file())[:200]
        chain.publish(trades[:100])
        next_year_ms = int((time.time() + 365 * 86_400) * 1000)
        bad: list[tuple[bytes, str, str]] = [
            (b"{not json", "malformed", "not JSON"),
            (b"", "malformed", "not JSON"),
            (b"\xff\xfe", "malformed", "not JSON"),
            (b"[" * 100_000, "malformed", ""),
            (b"[]", "malformed", "Expected `object`"),
            (_trade_json(price=None), "malformed", "price"),
            (_trade_json(price=-1.0), "malformed", "price"),
            (_trade_json(price=0), "malformed", "price"),
            (_trade_json(price=1e300), "malformed", "price"),
            (_trade_json(volume=1e40), "malformed", "volume"),
            (_trade_json().replace(b"0.5", b"NaN"), "malformed", "not JSON"),
            (_trade_json().replace(b"0.5", b"1e999"), "malformed", ""),
            (_trade_json(timestamp_ms=86_400_000), "malformed", "timestamp_ms"),
            (_trade_json(timestamp_ms=next_year_ms), "malformed", "future"),
            (_trade_json(timestamp_ms=2**70), "malformed", ""),
            (_trade_json(pair="DOGE/USD"), "unknown_pair", "DOGE/USD"),
            (_trade_json(timestamp_ms=trades[0][0] - 86_400_000), "late", "timestamp_ms"),
        ]
        for value, _, _ in bad:
            chain.publish_raw(topics.TRADES, value)
        chain.publish(trades[100:])
        count = len(pandas_candles(trades))
        candles = eventually(lambda: (found := chain.read(topics.CANDLES)) and len(found) >= count and found, "candles")
        assert [candle.close for candle in candles] == pandas_candles(trades)["close"].to_list()
        letters: list[DeadLetter] = chain.read(topics.DEAD_LETTERS)
        assert len(letters) == len(bad)
        for letter, (value, reason, words) in zip(letters, bad, strict=True):
            assert (letter.service, letter.reason, letter.value) == ("candles", reason, value)
            assert words in letter.error
            assert letter.topic == topic_name(chain.pipeline, topics.TRADES)
        assert [letter.offset for letter in letters] == list(range(100, 100 + len(bad)))
        assert chain.metric("candles", "pricecast_dead_letters_total{") == len(bad)
        assert chain.metric("candles", "pricecast_late_trades_total{") == 1

    def test_bad_candles_and_rows_are_dead_lettered_by_those_who_read_them(self, chain: Chain) -> None:
        for service in SERVICES[1:]:
            chain.start(service)
        candle = pandas_candles(read_trades(trades_file())).iloc[0]
        whole = Candle(
            pair=PAIR,
            **{name: float(candle[name]) for name in formulas.COLUMNS},
            trade_count=int(candle["trade_count"]),
            window_start_ms=int(candle["window_start_ms"]),
            window_end_ms=int(candle["window_start_ms"]) + 60_000,
            candle_seconds=60,
        )
        chain.publish_raw(topics.CANDLES, msgspec.json.encode(msgspec.structs.replace(whole, candle_seconds=61)))
        chain.publish_raw(topics.CANDLES, b"{}")
        chain.publish_raw(topics.TECHNICAL_INDICATORS, b'{"pair": 1}')
        letters = eventually(
            lambda: (found := chain.read(topics.DEAD_LETTERS)) and len(found) >= 3 and found, "letters"
        )
        assert sorted((letter.service, letter.reason) for letter in letters) == [
            ("technical-indicators", "malformed"),
            ("technical-indicators", "wrong_length"),
            ("to-feature-store-technical-indicators", "malformed"),
        ]

    def test_open_candles_are_shown_if_asked_and_change_no_row(self, chain: Chain) -> None:
        trades = read_trades(trades_file())
        for service in SERVICES:
            chain.start(service, EMIT_OPEN_CANDLES="true")
        chain.publish(trades)
        assert_equal_bits(chain.await_rows(expected_rows(trades).height), expected_rows(trades))
        candles: list[Candle] = chain.read(topics.CANDLES)
        closed = [candle for candle in candles if candle.closed]
        assert [candle.volume for candle in closed] == pandas_candles(trades)["volume"].to_list()
        last = candles[-1]
        assert not last.closed
        assert (last.close, last.window_start_ms) == (trades[-1][1], closed[-1].window_end_ms)

    def test_news_signals_are_stored_once_and_announced(self, chain: Chain) -> None:
        signals = [
            NewsSignal(coin=coin, signal=1, model_name="lexicon", news_id=str(number), timestamp_ms=1_767_225_600_000)
            for number in range(20)
            for coin in ("BTC", "ETH")
        ]
        for signal in [*signals, *signals]:
            chain.publisher.publish(topics.NEWS_SIGNALS, signal.coin, signal)
        chain.publisher.flush()
        chain.start("to-feature-store", GROUP="news_signals")
        markers = eventually(lambda: (found := chain.read(topics.FEATURES)) and len(found) >= 80 and found, "markers")
        assert {(marker.group, marker.key) for marker in markers} == {("news_signals", "BTC"), ("news_signals", "ETH")}
        assert chain.store.count(f"{chain.pipeline}_news_signals", "BTC") == 20

    def test_services_end_cleanly_and_at_once_when_asked(self, chain: Chain) -> None:
        for service in SERVICES:
            chain.start(service)
        chain.await_ready()
        chain.publish(read_trades(trades_file())[:500])
        for process in chain.processes.values():
            process.terminate()
        assert [process.wait(120) for process in chain.processes.values()] == [0, 0, 0]

    def test_rows_wait_for_a_store_that_is_away(self, chain: Chain) -> None:
        trades = read_trades(trades_file())
        expected = expected_rows(trades)
        database = chain.folder / "features.db"
        database.write_bytes(b"this is no database, and nothing can be stored in it\n" * 20)
        for service in SERVICES:
            chain.start(service)
        chain.publish(trades)
        problem = eventually(
            lambda: (chain.health("to-feature-store") or {}).get("problems", {}).get("stream", "").startswith("store"),
            "not ready, with the reason",
        )
        assert problem
        assert (chain.health("to-feature-store", "/healthz") or {})["ok"]  # a restart would not help
        assert chain.metric("to-feature-store", "pricecast_store_errors_total{") >= 1
        with database.open("r+b") as file:
            file.truncate(0)
        assert_equal_bits(chain.await_rows(expected.height), expected)
        chain.await_ready("to-feature-store")

    def test_an_outage_of_the_broker_loses_nothing_and_says_so(self, own_broker: OwnBroker, tmp_path: Path) -> None:
        own_broker.start()
        chain = Chain(own_broker.address, tmp_path)
        try:
            trades = read_trades(trades_file())
            expected = expected_rows(trades)
            half = len(trades) // 2
            for service in SERVICES:
                chain.start(service)
            chain.await_ready()
            chain.publish(trades[:half])
            own_broker.stop()
            for service in SERVICES:
                eventually(lambda name=service: not (chain.health(name) or {"ok": True})["ok"], f"{service} not ready")
            time.sleep(60)  # longer than transactions and group memberships last
            assert all((chain.health(service, "/healthz") or {})["ok"] for service in SERVICES)
            own_broker.start()
            chain.publish(trades[half:])
            assert_equal_bits(chain.await_rows(expected.height), expected)
            chain.await_ready()
            assert all(process.poll() is None for process in chain.processes.values())
        finally:
            chain.close()


def _trade_json(**changes: Any) -> bytes:
    trade = {"pair": PAIR, "price": 0.001, "volume": 0.5, "timestamp_ms": 1_767_230_000_000} | changes
    return msgspec.json.encode({name: value for name, value in trade.items() if value is not None})
