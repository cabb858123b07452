"""The stream services as real processes over a broker, and what must hold of them on every broker.

A subclass of `StreamsContract` gives the fixture `brokers`, `host:port` of a broker. Expected values are computed
here a second time: candles by pandas from the file, indicators by one pass over the whole table.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from pricecast_core import topics
from pricecast_core.health import Health
from pricecast_core.indicators import choose, columns
from pricecast_core.messages import Candle, DeadLetter, FeatureRowStored, Message, NewsSignal, Trade
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.streaming import Publisher
from pricecast_core.topics import TopicSpec, topic_name
from pricecast_technical_indicators import formulas

DATA = Path(__file__).parents[1] / "data"
PAIR = "XRP/ETH"
HISTORY = 300
SERVICES = ("candles", "technical-indicators", "to-feature-store")
_DEADLINE_SECONDS = 120.0
Trades = list[tuple[int, float, float]]


def eventually(condition: Callable[[], Any], what: str, seconds: float = _DEADLINE_SECONDS) -> Any:
    """Polls until the condition holds and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
    return value


def trades_file() -> Path:
    """Returns the trades to replay: PRICECAST_TRADES_CSV (Kraken's form), else the sample in the repository."""
    return Path(os.environ.get("PRICECAST_TRADES_CSV") or DATA / "trades.csv")


def read_trades(path: Path) -> Trades:
    """Returns (timestamp_ms, price, volume) of each line."""
    frame = pd.read_csv(path, header=None, names=["seconds", "price", "volume"], dtype=float)
    times = (frame["seconds"] * 1000).round().astype("int64")
    return list(zip(times.tolist(), frame["price"].tolist(), frame["volume"].tolist(), strict=True))


def pandas_candles(trades: Trades, seconds: int = 60) -> pd.DataFrame:
    """Returns the closed candles by pandas: all but the last window, quiet ones flat."""
    frame = pd.DataFrame(trades, columns=["ms", "price", "volume"])
    frame.index = pd.to_datetime(frame.pop("ms"), unit="ms")
    groups = frame.resample(f"{seconds}s")
    candles = groups["price"].ohlc()
    candles["volume"] = groups["volume"].sum()
    candles["trade_count"] = groups["price"].count()
    candles["close"] = candles["close"].ffill()
    for name in ("open", "high", "low"):
        candles[name] = candles[name].fillna(candles["close"])
    candles["window_start_ms"] = candles.index.astype("datetime64[ms]").astype("int64")
    return candles.iloc[:-1].reset_index(drop=True)


def expected_rows(trades: Trades, pair: str = PAIR) -> pl.DataFrame:
    """Returns the feature rows that the whole chain must store."""
    candles = pandas_candles(trades)
    array = np.ascontiguousarray(candles[list(formulas.COLUMNS)].to_numpy(dtype=float).T)
    chosen = choose([])
    indicators = formulas.rows(chosen, array, HISTORY)
    kept = candles.iloc[HISTORY - 1 :]
    frame = pl.DataFrame(
        {
            "pair": [pair] * len(kept),
            "candle_seconds": [60] * len(kept),
            "window_start_ms": kept["window_start_ms"].to_list(),
            "window_end_ms": (kept["window_start_ms"] + 60_000).to_list(),
            **{name: kept[name].to_list() for name in ("open", "high", "low", "close", "volume", "trade_count")},
        }
    )
    return frame.with_columns(
        pl.Series(name, [row[name] for row in indicators], pl.Float64) for name in columns(chosen)
    )


class Chain:
    """The services of one pipeline, each a process of its own, with a folder and a pipeline name of their own."""

    def __init__(self, brokers: str, folder: Path, pairs: Sequence[str] = (PAIR,)) -> None:
        self.pipeline = f"t{uuid.uuid4().hex[:10]}"
        self.folder = folder
        self.settings = StreamSettings(pipeline=self.pipeline, kafka_brokers=brokers)
        self.store_url = f"sqlite:///{folder}/features.db"
        self.store = SqlFeatureStore(self.store_url)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._env = {
            "PIPELINE": self.pipeline,
            "KAFKA_BROKERS": brokers,
            "STATE_DIR": str(folder / "state"),
            "PAIRS": ",".join(pairs),
            "FEATURE_STORE_URL": self.store_url,
            "LOG_LEVEL": "INFO",
        }
        self._stop = Stop()
        self.publisher = Publisher("trades", self.settings, topics.ALL, Health(), self._stop)

    def start(self, service: str, replica: int = 0, **env: str) -> None:
        """Starts a service, again if it was there before; a replica beyond the first is `service/1` from then on."""
        name = f"{service}/{replica}" if replica else service
        own = {"HTTP_PORT": "0", "INSTANCE": f"{service}-{replica}"}
        command = Path(sys.executable).with_name(f"pricecast-{service}")
        with self._log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [command], env={**os.environ, **self._env, **own, **env}, stderr=log, stdout=log
            )

    def kill(self, service: str) -> None:
        """Kills a service without a word (SIGKILL)."""
        self.processes[service].kill()
        self.processes[service].wait()

    def health(self, service: str, path: str = "/readyz") -> dict[str, Any] | None:
        """Returns what a service says of itself; None while it doesn't answer."""
        try:
            with urllib.request.urlopen(f"{self._address(service)}{path}", timeout=5) as answer:
                return msgspec.json.decode(answer.read(), type=dict[str, Any])
        except urllib.error.HTTPError as error:
            return msgspec.json.decode(error.read(), type=dict[str, Any])
        except OSError:
            return None

    def metric(self, service: str, line: str) -> float:
        """Returns a sample of a service's metrics, named as it stands there."""
        with urllib.request.urlopen(f"{self._address(service)}/metrics", timeout=5) as answer:
            found = [text for text in answer.read().decode().splitlines() if text.startswith(line)]
        return sum(float(text.rpartition(" ")[2]) for text in found)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.log"

    def _address(self, name: str) -> str:
        """Returns where the newest process of that name answers, which its log says."""
        started = re.findall(r'"health": "(http://[^"]+)"', self._log(name).read_text())
        return started[-1] if started else "http://127.0.0.1:1"

    def await_ready(self, *services: str) -> None:
        """Waits until the services say that they are ready."""
        for service in services or tuple(self.processes):
            eventually(lambda name=service: (self.health(name) or {}).get("ok"), f"{service} ready")

    def publish(self, trades: Trades, pair: str = PAIR) -> None:
        """Writes trades, durably."""
        for timestamp_ms, price, volume in trades:
            trade = Trade(pair=pair, price=price, volume=volume, timestamp_ms=timestamp_ms)
            self.publisher.publish(topics.TRADES, pair, trade)
        self.publisher.flush()

    def publish_raw(self, topic: TopicSpec, value: bytes, key: str = PAIR) -> None:
        """Writes any bytes to a topic, durably."""
        self.publisher._send(topic, key.encode(), value)
        self.publisher.flush()

    def rows(self) -> pl.DataFrame:
        """Returns the feature rows that are stored."""
        return self.store.read(f"{self.pipeline}_technical_indicators")

    def await_rows(self, count: int) -> pl.DataFrame:
        """Waits until so many rows are stored, and returns them."""
        eventually(lambda: self.store.count(f"{self.pipeline}_technical_indicators", PAIR) >= count, f"{count} rows")
        return self.rows()

    def read(self, topic: TopicSpec, kind: type[Message] | None = None) -> list[Any]:
        """Returns all committed messages of a topic."""
        decoder = msgspec.json.Decoder(kind or topic.message)
        return [
            decoder.decode(value) for value in read_topic(self.settings.kafka_brokers, topic_name(self.pipeline, topic))
        ]

    def close(self) -> None:
        """Ends the services."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=30)
        self._stop.set()
        self.publisher.close()
        self.store.close()


def read_topic(brokers: str, topic: str) -> list[bytes]:
    """Returns the committed values of a topic, one partition after another."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": uuid.uuid4().hex,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    values: list[bytes] = []
    try:
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            consumer.assign([TopicPartition(topic, partition, 0)])
            while (message := consumer.poll(30)) is not None:
                error = message.error()
                if error is None:
                    values.append(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    break
                else:
                    raise AssertionError(error.str())
            else:
                raise AssertionError(f"{topic}: no answer")
        return values
    finally:
        consumer.close()


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

    def test_services_killed_at_random_moments_lose_and_double_nothing(self, chain: Chain) -> None:
        trades = read_trades(trades_file())
        expected = expected_rows(trades)
        for service in SERVICES:
            chain.start(service)
        chain.await_ready()
        kills = 0
        with _in_pieces(chain, trades, pieces=150, pause_seconds=0.1) as publishing:
            rng = random.Random(len(trades))
            while publishing.is_alive():
                time.sleep(rng.random())  # a random moment, not a wait for anything
                victim = rng.choice(SERVICES)
                chain.kill(victim)
                chain.start(victim)
                kills += 1
                chain.await_ready(victim)
        assert kills >= 3
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
        assert [process.wait(timeout=20) for process in chain.processes.values()] == [0, 0, 0]

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
            time.sleep(12)  # longer than a transaction may last
            assert all((chain.health(service, "/healthz") or {})["ok"] for service in SERVICES)
            own_broker.start()
            chain.publish(trades[half:])
            assert_equal_bits(chain.await_rows(expected.height), expected)
            chain.await_ready()
            assert all(process.poll() is None for process in chain.processes.values())
        finally:
            chain.close()


class OwnBroker(Protocol):
    """A broker that a test may take away and bring back."""

    @property
    def address(self) -> str:
        """`host:port`, the same for its whole life."""

    def start(self) -> object:
        """Starts it, with the data it had."""

    def stop(self) -> None:
        """Takes it away."""


@contextmanager
def _in_pieces(chain: Chain, trades: Trades, pieces: int, pause_seconds: float) -> Iterator[threading.Thread]:
    """Publishes trades piece by piece in the background."""

    def publish() -> None:
        for piece in range(pieces):
            chain.publish(trades[piece * len(trades) // pieces : (piece + 1) * len(trades) // pieces])
            time.sleep(pause_seconds)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def _trade_json(**changes: Any) -> bytes:
    trade = {"pair": PAIR, "price": 0.001, "volume": 0.5, "timestamp_ms": 1_767_230_000_000} | changes
    return msgspec.json.encode({name: value for name, value in trade.items() if value is not None})


def assert_equal_bits(stored: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Checks that two frames hold the same rows, floats compared bit by bit."""
    assert stored.height == expected.height
    assert stored.columns == expected.columns
    for name in expected.columns:
        left, right = stored[name], expected[name]
        if left.dtype == pl.Float64:
            left, right = left.reinterpret(signed=True), right.cast(pl.Float64).reinterpret(signed=True)
        unequal = (left != right).arg_true()
        assert unequal.len() == 0, f"{name}: {unequal.len()} rows differ, first at {unequal[0]}"


__all__ = ["Chain", "OwnBroker", "StreamsContract", "eventually"]
