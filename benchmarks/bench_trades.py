"""How fast trades come in: Kraken's REST backfill, a replayed file, the simulated market.

Each is a process of `pricecast-trades` against one embedded broker, timed from its `started` to its `finished` log
line, topics made and resume point looked up included. Beside it stands what the broker takes from a bare producer of
the same messages, in the same run; the CPU figure is less disturbed by what else the machine does. Kraken is the
stand-in of the tests without its pace of one call a second, so the figure is what the client can do; at Kraken's own
pace a backfill reads 1,000 trades a second.

    python -m benchmarks.bench_trades [--trades 300000] [--runs 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from pricecast_core.messages import Trade, encode
from pricecast_embedded_broker import running
from tests.doubles.kraken import Deal, KrakenDouble

START_S = 1_700_000_000


def rows(count: int) -> list[tuple[float, float, float]]:
    """Returns time in seconds, price and volume of so many trades."""
    rng = random.Random(1)
    return [
        (START_S + number / 10, round(50_000 + rng.gauss(0, 50), 1), round(rng.random() + 0.001, 4))
        for number in range(count)
    ]


def service(brokers: str, count: int, **settings: str) -> dict[str, float]:
    """Runs the service to its end and returns its rates."""
    env = {"PIPELINE": f"bench-{uuid.uuid4().hex[:8]}", "KAFKA_BROKERS": brokers, "PAIRS": "BTC/USD", "HTTP_PORT": "0"}
    command = [str(Path(sys.executable).with_name("pricecast-trades"))]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=os.environ | env | settings, stderr=log)
        _, status, used = os.wait4(process.pid, 0)  # its own usage, not that of all children
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read()
    assert process.returncode == 0, text
    lines = {line["event"]: line for line in map(json.loads, text.splitlines())}
    written = lines["finished"]["trades"] + lines["finished"]["candles"]
    assert written >= count * 0.9, f"{written} instead of {count}"
    moments = [datetime.fromisoformat(lines[event]["timestamp"]) for event in ("started", "finished")]
    return {
        "per_second": written / (moments[1] - moments[0]).total_seconds(),
        "per_cpu_second": written / (used.ru_utime + used.ru_stime),
        "memory_mib": used.ru_maxrss / 1024,
    }


def bare(brokers: str, data: list[tuple[float, float, float]]) -> dict[str, float]:
    """Writes the same messages, encoded beforehand, with a plain idempotent producer."""
    values = [
        encode(Trade(pair="BTC/USD", price=p, volume=v, trade_id=n, timestamp_ms=int(t * 1000)))
        for n, (t, p, v) in enumerate(data, 1)
    ]
    producer = Producer(
        {"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 2, "enable.metrics.push": False}
    )
    start, cpu = time.perf_counter(), time.process_time()
    for value in values:
        while True:
            try:
                producer.produce("bare", value, b"BTC/USD")
                break
            except BufferError:
                producer.poll(0.01)
    producer.flush()
    return {
        "per_second": len(values) / (time.perf_counter() - start),
        "per_cpu_second": len(values) / (time.process_time() - cpu),
    }


def measure(trades: int = 300_000, runs: int = 3) -> dict[str, Any]:
    """Runs all benchmarks of this module and returns the medians of their rates."""
    folder = Path(tempfile.mkdtemp(prefix="pricecast-bench-"))
    data = rows(trades)
    trade_file, bar_file = folder / "XBTUSD.csv", folder / "XBTUSD_1.csv"
    trade_file.write_text("".join(f"{t:.1f},{p},{v}\n" for t, p, v in data))
    first = START_S - START_S % 60
    bar_file.write_text(
        "".join(f"{first + 60 * n},{p},{p + 5},{p - 5},{p},{v},9\n" for n, (_, p, v) in enumerate(data))
    )
    deals = [
        Deal(number, f"{p:.5f}", f"{v:.8f}", int(t * 1e6), "buy") for number, (t, p, v) in enumerate(data[: 10**5], 1)
    ]
    found: dict[str, list[dict[str, float]]] = {}
    try:
        with running(folder / "broker") as brokers, KrakenDouble() as exchange:
            exchange.deals["BTC/USD"] = deals
            cases: dict[str, Any] = {
                "bare producer": lambda: bare(brokers, data),
                "replayed trades": lambda: service(
                    brokers, trades, SOURCE="replay", REPLAY_FILES=json.dumps([str(trade_file)])
                ),
                "replayed bars": lambda: service(
                    brokers,
                    trades,
                    SOURCE="replay",
                    REPLAY_FILES=json.dumps([str(bar_file)]),
                ),
                "simulated market": lambda: service(
                    brokers,
                    trades // 3,  # its rate varies with its volatility
                    SOURCE="simulated",
                    MODE="Historical",
                    SINCE=f"{trades / 20 / 3600:.2f}h",
                    SIMULATION_TRADES_PER_SECOND="20",
                ),
                "Kraken backfill": lambda: service(
                    brokers,
                    len(deals),
                    MODE="Historical",
                    SINCE="2023-11-01",
                    KRAKEN_REST_URL=exchange.rest_url,
                    KRAKEN_REQUESTS_PER_SECOND="100000",
                ),
            }
            for _ in range(runs):
                for name, case in cases.items():
                    found.setdefault(name, []).append(case())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "trades": trades,
        "runs": runs,
        "rates": {
            name: {key: statistics.median(run[key] for run in of) for key in of[0]} for name, of in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    result = measure(options.trades, options.runs)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'':20}{'per second':>12}{'per CPU second':>16}{'memory MiB':>12}")
    for name, rates in result["rates"].items():
        figures = (rates.get(key) for key in ("per_second", "per_cpu_second", "memory_mib"))
        print(
            f"{name:20}"
            + "".join(f"{'' if x is None else f'{x:,.0f}':>{w}}" for x, w in zip(figures, (12, 16, 12), strict=True))
        )


if __name__ == "__main__":
    main()
