"""Runs `pricecast-trades` as a process and looks at what it wrote: shared by the tests of its sources."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from pricecast_core.messages import Clock, DeadLetter, Trade, decode, decoder
from tests.waiting import eventually


class Broker(Protocol):
    """Where a pipeline's topics are."""

    address: str


@dataclass
class Kafka:
    """A Kafka that others use too: the pipeline's name is one of its own."""

    address: str
    pipeline: str


def pipeline(broker: Broker) -> str:
    return broker.pipeline if isinstance(broker, Kafka) else "t"


class Process:
    """One run of `pricecast-trades`."""

    def __init__(self, broker: Broker, tmp_path: Path, **settings: str) -> None:
        defaults = {"PIPELINE": pipeline(broker), "KAFKA_BROKERS": broker.address, "HTTP_PORT": "0", "PAIRS": "BTC/USD"}
        self.log = tmp_path / f"trades-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("pricecast-trades")], env=os.environ | defaults | settings, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def running(self) -> bool:
        return self._process.poll() is None

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def get(self, path: str) -> tuple[int, str]:
        started = eventually(lambda: [line for line in self.lines() if line["event"] == "started"])
        try:
            with urllib.request.urlopen(started[0]["health"] + path, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        _, text = self.get("/metrics")
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200


@contextmanager
def running(broker: Broker, tmp_path: Path, **settings: str) -> Iterator[Process]:
    process = Process(broker, tmp_path, **settings)
    try:
        yield process
    finally:
        if process.running():
            process.kill()


def messages(broker: Broker, topic: str) -> list[tuple[str, bytes]]:
    """Returns key and value of all that a read_committed consumer sees now."""
    config = {
        "bootstrap.servers": broker.address,
        "group.id": "test",
        "enable.auto.commit": False,
        "enable.metrics.push": False,
    }
    consumer = Consumer(config | {"enable.partition.eof": True, "isolation.level": "read_committed"})
    name = f"{pipeline(broker)}.{topic}"
    found: list[tuple[str, bytes]] = []
    try:
        known = consumer.list_topics(name, 10).topics[name]
        for number in () if known.error else known.partitions:
            partition = TopicPartition(name, number, OFFSET_BEGINNING)
            end = _end(consumer, partition)
            consumer.assign([partition])
            found += _up_to(consumer, end)
    finally:
        consumer.close()
    return found


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """Asks again while a partition that has just been made has no leader."""
    while True:
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=60)[1])
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE):
                raise
        time.sleep(0.1)


def _up_to(consumer: Consumer, end: int) -> list[tuple[str, bytes]]:
    """Reads to a fixed end: there is no end of the partition to be seen while trades go on."""
    found: list[tuple[str, bytes]] = []
    while True:
        for message in consumer.consume(5_000, timeout=0.05):
            if message.error() is None and message.offset() < end:
                found.append((message.key().decode(), message.value()))
            elif message.error() is None or message.error().code() == KafkaError._PARTITION_EOF:
                return found


def trades(broker: Broker, pair: str = "BTC/USD") -> list[Trade]:
    read = decoder(Trade, Clock)
    found = [
        item for key, value in messages(broker, "trades") if key == pair and isinstance(item := read(value), Trade)
    ]
    assert all(trade.pair == pair for trade in found)
    return found


def letters(broker: Broker) -> list[DeadLetter]:
    return [decode(DeadLetter, value) for _, value in messages(broker, "dead-letters")]


def told(found: list[Trade]) -> list[tuple[float, float, int]]:
    return [(trade.price, trade.volume, trade.timestamp_ms) for trade in found]


def replay_through_kills(broker: Broker, tmp_path: Path, seconds: float, **settings: str) -> None:
    """Replays files in processes that are killed within `seconds` of their start, then to the end, and once more."""
    rng = random.Random(5)
    for _ in range(4):
        with running(broker, tmp_path, SOURCE="replay", **settings) as process:
            eventually(lambda: not process.running() or any(line["event"] == "started" for line in process.lines()))
            time.sleep(rng.uniform(0.1, seconds))
    for _ in range(2):  # finished, and asked again
        with running(broker, tmp_path, SOURCE="replay", **settings) as process:
            assert process.wait() == 0
        assert process.lines()[-2]["event"] == "finished"
