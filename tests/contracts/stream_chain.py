"""A chain of stream services as real processes over a broker, and what it must store, computed a second time.

Candles are computed here by pandas from the file, indicators by one pass over the whole table.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
from confluent_kafka import Consumer, KafkaError, TopicPartition

from pricecast_core import topics
from pricecast_core.health import Health
from pricecast_core.indicators import choose, columns
from pricecast_core.messages import Message, Trade
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.streaming import Publisher
from pricecast_core.topics import TopicSpec, topic_name
from pricecast_technical_indicators import formulas
from tests.waiting import eventually

DATA = Path(__file__).parents[1] / "data"
PAIR = "XRP/ETH"
HISTORY = 300
SERVICES = ("candles", "technical-indicators", "to-feature-store")
_DEADLINE_SECONDS = 120.0
Trades = list[tuple[int, float, float]]


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
            with urllib.request.urlopen(f"{self.address(service)}{path}", timeout=60) as answer:
                return msgspec.json.decode(answer.read(), type=dict[str, Any])
        except urllib.error.HTTPError as error:
            return msgspec.json.decode(error.read(), type=dict[str, Any])
        except OSError:
            return None

    def metric(self, service: str, line: str) -> float:
        """Returns a sample of a service's metrics, named as it stands there."""
        with urllib.request.urlopen(f"{self.address(service)}/metrics", timeout=60) as answer:
            found = [text for text in answer.read().decode().splitlines() if text.startswith(line)]
        return sum(float(text.rpartition(" ")[2]) for text in found)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.log"

    def address(self, name: str) -> str:
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
        """Returns all committed messages of a topic, of the others that may be among them none."""
        decoder = msgspec.json.Decoder(kind or topic.message)
        others = [msgspec.json.Decoder(other) for other in topic.others]
        found = []
        for value in read_topic(self.settings.kafka_brokers, topic_name(self.pipeline, topic)):
            try:
                found.append(decoder.decode(value))
            except msgspec.ValidationError:
                if not any(_decodes(other, value) for other in others):
                    raise
        return found

    def written_ms(self, topic: TopicSpec) -> list[int]:
        """Returns the Kafka timestamps of all messages of a topic: what its retention counts from."""
        messages = read_messages(self.settings.kafka_brokers, topic_name(self.pipeline, topic))
        return [int(message.timestamp()[1]) for message in messages]

    def close(self) -> None:
        """Ends the services."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(120)
        self._stop.set()
        self.publisher.close()
        self.store.close()


def read_topic(brokers: str, topic: str) -> list[bytes]:
    """Returns the committed values of a topic, one partition after another."""
    return [message.value() or b"" for message in read_messages(brokers, topic)]


def read_messages(brokers: str, topic: str) -> list[Any]:
    """Returns the committed messages of a topic as the client gives them, one partition after another."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": uuid.uuid4().hex,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    messages: list[Any] = []
    try:
        for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            consumer.assign([TopicPartition(topic, partition, 0)])
            while (message := consumer.poll(30)) is not None:
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    break
                else:
                    raise AssertionError(error.str())
            else:
                raise AssertionError(f"{topic}: no answer")
        return messages
    finally:
        consumer.close()


@contextmanager
def in_pieces(chain: Chain, trades: Trades, pieces: int, pause_seconds: float) -> Iterator[threading.Thread]:
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


def _decodes(decoder: msgspec.json.Decoder[Any], value: bytes) -> bool:
    try:
        decoder.decode(value)
    except msgspec.ValidationError:
        return False
    return True
