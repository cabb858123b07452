"""Throughput and latency of the stream services, on one broker, beside a plain quixstreams passthrough.

    uv run --no-sync python benchmarks/bench_streams.py [--messages 300000] [--runs 3] [--brokers HOST:PORT] [--json]

Without `--brokers` an embedded broker is started. Every contestant is a process of its own that reads the same topic
from its start; its rate is taken from the consumer group's committed offsets, and its cost from the processor time
of the process. Contestants take turns, and figures are medians over the turns, so that a noisy machine is noisy for
all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pricecast_core import topics
from pricecast_core.health import Health
from pricecast_core.messages import Candle, FeatureRowStored, Trade
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.streaming import Follower, Publisher
from pricecast_core.topics import TopicSpec, topic_name
from pricecast_embedded_broker import running

PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD")
START_MS = 1_767_225_600_000
COMMIT_SECONDS = 0.05
BIN = Path(sys.executable).parent

PASSTHROUGH = """
import sys
from quixstreams import Application
brokers, source, target, group, guarantee, state = sys.argv[1:]
app = Application(broker_address=brokers, consumer_group=group, auto_offset_reset="earliest", state_dir=state,
                  commit_interval=0.05, processing_guarantee=guarantee, loglevel="ERROR")
app.dataframe(app.topic(source)).to_topic(app.topic(target))
app.run()
"""


def _trade(i: int) -> tuple[str, Trade]:
    pair = PAIRS[i % len(PAIRS)]
    trade = Trade(
        pair=pair,
        price=50_000.0 + (i * 7919) % 1000 / 10,
        volume=0.01 + (i % 100) / 1000,
        side="buy" if i % 3 else "sell",
        trade_id=i,
        timestamp_ms=START_MS + i * 5,  # 200 trades a second of market time
    )
    return pair, trade


def _candle(i: int) -> tuple[str, Candle]:
    pair, minute = PAIRS[i % len(PAIRS)], i // len(PAIRS)
    price = 50_000.0 + (minute * 7919) % 1000 / 10
    start_ms = START_MS + minute * 60_000
    candle = Candle(
        pair=pair,
        open=price,
        high=price + 5,
        low=price - 5,
        close=price + 1,
        volume=1.0 + minute % 10,
        trade_count=100,
        window_start_ms=start_ms,
        window_end_ms=start_ms + 60_000,
        candle_seconds=60,
    )
    return pair, candle


class Bench:
    """One broker, one pipeline whose topics are filled once."""

    def __init__(self, brokers: str, folder: Path) -> None:
        self.brokers = brokers
        self.folder = folder
        folder.mkdir(parents=True)
        self.settings = StreamSettings(pipeline=f"bench-{uuid.uuid4().hex[:8]}", kafka_brokers=brokers)
        self.publisher = Publisher("bench", self.settings, [topics.TRADES, topics.CANDLES], Health(), Stop())

    def fill(self, topic: TopicSpec, make: Any, count: int) -> float:
        """Writes `count` messages and returns the rate."""
        start = time.perf_counter()
        for i in range(count):
            pair, message = make(i)
            self.publisher.publish(topic, pair, message)
        self.publisher.flush(120)
        return count / (time.perf_counter() - start)

    def environment(self, **changes: str) -> dict[str, str]:
        """Returns a service's environment."""
        env = {
            "PIPELINE": self.settings.pipeline,
            "KAFKA_BROKERS": self.brokers,
            "PAIRS": ",".join(PAIRS),
            "STATE_DIR": str(self.folder / uuid.uuid4().hex),
            "COMMIT_INTERVAL_SECONDS": str(COMMIT_SECONDS),
            "FEATURE_STORE_URL": f"sqlite:///{self.folder}/features.db",
            "HTTP_PORT": "0",
            "LOG_LEVEL": "ERROR",
        }
        return {**os.environ, **env, **changes}

    def measure(self, command: list[str], env: dict[str, str], group: str, topic: str, count: int) -> dict[str, float]:
        """Runs a process until its group has committed `count` messages of the topic; returns its rates."""
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        watcher = Consumer({"bootstrap.servers": self.brokers, "group.id": group, "enable.metrics.push": False})
        try:
            first: tuple[float, float, int] | None = None
            deadline = time.monotonic() + 300
            while True:
                assert process.poll() is None, f"{command[0]} ended"
                assert time.monotonic() < deadline, f"{command[0]}: too slow"
                done, now, cpu = _committed(watcher, topic), time.perf_counter(), _cpu_seconds(process.pid)
                if done > 0 and first is None:
                    first = (now, cpu, done)
                if done >= count and first is not None:
                    break
                time.sleep(0.01)
            handled = done - first[2]
            return {
                "per_second": handled / (now - first[0]),
                "per_cpu_second": handled / (cpu - first[1]),
                "memory_mib": _memory_mib(process.pid),
            }
        finally:
            process.terminate()
            process.wait(30)
            watcher.close()


def _committed(consumer: Consumer, topic: str) -> int:
    try:
        return int(consumer.committed([TopicPartition(topic, 0)], timeout=5)[0].offset)
    except KafkaException:
        return -1


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def throughput(brokers: str, folder: Path, messages: int, runs: int) -> dict[str, dict[str, float]]:
    """Measures each service and the passthrough in turns; each turn has a pipeline and topics of its own."""
    results: dict[str, list[dict[str, float]]] = {}
    rows = max(4_000, messages // 20)
    for run in range(runs):
        bench = Bench(brokers, folder / f"run-{run}")
        pipeline = bench.settings.pipeline
        trades = topic_name(pipeline, topics.TRADES)
        published = bench.fill(topics.TRADES, _trade, messages)
        bench.fill(topics.CANDLES, _candle, rows)
        results.setdefault("publisher", []).append({"per_second": published})
        for guarantee in ("exactly-once", "at-least-once"):
            group = f"{pipeline}.passthrough-{guarantee}"
            command = [sys.executable, "-c", PASSTHROUGH, brokers, trades, f"{pipeline}.copy-{guarantee}", group]
            command += [guarantee, str(bench.folder / group)]
            measured = bench.measure(command, dict(os.environ), group, trades, messages)
            results.setdefault(f"passthrough, {guarantee}", []).append(measured)
        for service, group, source, count in (
            ("candles", "candles", topics.TRADES, messages),
            ("technical-indicators", "technical-indicators", topics.CANDLES, rows),
            (
                "to-feature-store",
                "to-feature-store-technical-indicators",
                topics.TECHNICAL_INDICATORS,
                rows - len(PAIRS) * 299,
            ),
        ):
            measured = bench.measure(
                [str(BIN / f"pricecast-{service}")],
                bench.environment(),
                f"{pipeline}.{group}",
                topic_name(pipeline, source),
                count,
            )
            results.setdefault(service, []).append(measured)
    return {
        name: {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        for name, measured in results.items()
    }


def latency(brokers: str, folder: Path, trades_per_second: int, seconds: int) -> dict[str, float]:
    """Measures the time from a trade's publication to the feature row of the candle that it closes being stored.

    Candles last a second here, so that there are enough of them; history is the shortest allowed.
    """
    bench = Bench(brokers, folder / "latency")
    pair, history = PAIRS[0], 250
    env = bench.environment(CANDLE_SECONDS="1", HISTORY_CANDLES=str(history), PAIRS=pair)
    services = [
        subprocess.Popen([str(BIN / f"pricecast-{name}")], env=env, stderr=subprocess.DEVNULL)
        for name in ("candles", "technical-indicators", "to-feature-store")
    ]
    group = f"{bench.settings.pipeline}_technical_indicators".replace("-", "_")
    store = SqlFeatureStore(f"sqlite:///{bench.folder}/features.db")
    seen: dict[int, float] = {}
    stop = Stop()
    follower: Follower[FeatureRowStored] = Follower(
        "bench-features", bench.settings, topics.FEATURES, health=Health(), stop=stop, publisher=bench.publisher
    )

    def follow() -> None:
        for batch in follower.batches(timeout_seconds=0.1):
            now = time.perf_counter()
            for marker in batch:
                seen.setdefault(marker.event_time_ms, now)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        now_ms = int(time.time()) * 1000
        start_ms = now_ms - (history + seconds + 30) * 1000
        for i in range(history):  # the past, so that each candle from now on gives a row
            bench.publisher.publish(topics.TRADES, pair, _at(pair, start_ms + i * 1000))
        bench.publisher.flush()
        first_row_ms = start_ms + history * 1000
        sent: dict[int, float] = {}
        bench.publisher.publish(topics.TRADES, pair, _at(pair, first_row_ms))
        _wait(lambda: first_row_ms in seen, 120)
        begin = time.perf_counter()
        for i in range(1, seconds * trades_per_second + 1):
            timestamp_ms = first_row_ms + i * 1000 // trades_per_second
            due = begin + i / trades_per_second
            if (pause := due - time.perf_counter()) > 0:
                time.sleep(pause)
            if timestamp_ms % 1000 == 0:
                sent.setdefault(timestamp_ms, time.perf_counter())
            bench.publisher.publish(topics.TRADES, pair, _at(pair, timestamp_ms))
        bench.publisher.flush()
        _wait(lambda: sent.keys() <= seen.keys(), 60)
        assert store.count(group, pair) == seconds + 1
        times = sorted((seen[key] - sent[key]) * 1000 for key in sent)
        return {"p50_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)], "rows": float(len(times))}
    finally:
        stop.set()
        thread.join()
        follower.close()
        store.close()
        for service in services:
            service.terminate()
        for service in services:
            service.wait(30)


def _at(pair: str, timestamp_ms: int) -> Trade:
    return Trade(pair=pair, price=50_000.0 + timestamp_ms % 977, volume=0.5, timestamp_ms=timestamp_ms)


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "too slow"
        time.sleep(0.01)


@contextmanager
def _broker(address: str, folder: Path) -> Iterator[str]:
    if address:
        yield address
    else:
        with running(folder / "broker") as broker:
            yield broker


def measure(brokers: str = "", messages: int = 300_000, runs: int = 3) -> dict[str, Any]:
    """Runs all benchmarks of this module and returns their figures."""
    folder = Path(tempfile.mkdtemp(prefix="pricecast-bench-"))
    try:
        with _broker(brokers, folder) as address:
            rates = throughput(address, folder, messages, runs)
            result: dict[str, Any] = {"messages": messages, "runs": runs, "rates": rates}
            for key in ("per_second", "per_cpu_second"):
                for guarantee in ("exactly-once", "at-least-once"):
                    result[f"candles_to_passthrough_{guarantee.replace('-', '_')}_{key}"] = (
                        rates["candles"][key] / rates[f"passthrough, {guarantee}"][key]
                    )
            result["latency"] = latency(address, folder, 1_000, 60)
            return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", default="", help="host:port of a running broker")
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    result = measure(options.brokers, options.messages, options.runs)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'':32}{'per second':>12}{'per CPU second':>16}{'memory MiB':>12}")
    for name, rates in result["rates"].items():
        figures = (rates.get(key) for key in ("per_second", "per_cpu_second", "memory_mib"))
        print(
            f"{name:32}"
            + "".join(f"{'' if x is None else f'{x:,.0f}':>{w}}" for x, w in zip(figures, (12, 16, 12), strict=True))
        )
    for key, value in result.items():
        if key.startswith("candles_to"):
            print(f"{key}: {value:.2f}")
    print("trade published -> feature row stored and announced, 1,000 trades/s:", result["latency"])


if __name__ == "__main__":
    main()
