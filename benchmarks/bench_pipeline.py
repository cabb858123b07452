"""A whole pipeline on this machine: from the end of a candle to a prediction that can be read, and each service's memory.

    uv run --no-sync python -m benchmarks.bench_pipeline [--trades-per-second 1000] [--seconds 60] [--json]
    uv run --no-sync python -m benchmarks.bench_pipeline --pairs 500 --candle-seconds 60

`pricecast up` runs a simulated market at that rate in all, with candles of two seconds; a gRPC client watches. Latency is
counted from the end of a candle, by the clock, to the moment at which the client holds the prediction made from it: it
is stored by then. With many pairs all their candles end at once, and the lag that `up` tells every ten seconds is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import psutil

from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2_grpc as rpc

PIPELINE = """
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata: {{name: bench}}
spec:
  pairs: [{pairs}]
  source: {{kind: Simulated, since: {since}m, simulated: {{tradesPerSecond: {rate}}}}}
  candles: {{seconds: {candle}}}
  training: {{schedule: "0 0 1 1 *", lookback: {lookback}d, minRows: 10000}}
  prediction: {{horizonsSeconds: [{horizon}]}}
"""
CANDLES = 450
"""So many candles of the past: indicators need 300 to be warm, the naive forecast a hundred rows."""
PRICECAST = str(Path(sys.executable).with_name("pricecast"))


def watch(address: str, seconds: float) -> list[float]:
    """Returns the latencies, in milliseconds, of the predictions that arrive within so many seconds."""
    found: list[float] = []
    with grpc.insecure_channel(address) as channel:
        stream = rpc.PredictionServiceStub(channel).WatchPredictions(pb.WatchPredictionsRequest(), timeout=seconds)
        begun = time.time() * 1000
        try:
            for response in stream:
                closed = response.prediction.feature_time.ToMilliseconds()
                if closed >= begun:  # others were there before the watch
                    found.append(time.time() * 1000 - closed)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:  # the end of the watch
                raise
    return found


def memory(folder: Path) -> dict[str, float]:
    """Returns the proportional share of memory, MiB, of each program of the pipeline."""
    programs = json.loads((folder / "state.json").read_text())["programs"]
    return {
        name: psutil.Process(entry["process"]["pid"]).memory_full_info().pss / 2**20
        for name, entry in programs.items()
        if entry.get("process")
    }


def lags(log: str) -> list[int]:
    """Returns the lag, in messages, that each line of `pricecast up` tells; none is 0."""
    found = [re.search(r"lag ([\d,]+);", line) for line in log.splitlines() if " ready; " in line]
    return [int(lag[1].replace(",", "")) if lag else 0 for lag in found]


def measure(rate: float, seconds: float, more: str = "", *, pairs: int = 1, candle: int = 2) -> dict[str, Any]:
    """Runs the pipeline and returns its figures.

    Args:
        rate: Trades a second, of all pairs.
        seconds: How long predictions are watched.
        more: Further lines of the spec.
        pairs: How many pairs there are.
        candle: Seconds of a candle.
    """
    names = ["BTC/USD", *(f"C{number:03}/USD" for number in range(1, pairs))]
    since = CANDLES * candle // 60 + 1
    spec = PIPELINE.format(
        pairs=", ".join(names),
        rate=rate / pairs,
        candle=candle,
        since=since,
        horizon=5 * candle,
        lookback=10_000 * candle // 86_400 + 1,
    )
    with tempfile.TemporaryDirectory(prefix="pricecast-bench-") as temporary:
        folder, manifest = Path(temporary) / "data", Path(temporary) / "bench.yaml"
        manifest.write_text(spec + more)
        with (Path(temporary) / "log").open("w") as log:
            up = subprocess.Popen(
                [PRICECAST, "up", str(manifest), "--data-dir", str(folder), "--no-view"], stdout=log, stderr=log
            )
            try:
                address = wait_for_prediction(folder, up, deadline=time.monotonic() + 240 + 3 * pairs)
                caught_up(Path(temporary) / "log", up)
                told = len(lags((Path(temporary) / "log").read_text()))
                latencies = sorted(watch(address, seconds))
                resident, load = memory(folder), os.getloadavg()[0]
                behind = lags((Path(temporary) / "log").read_text())[told:]
            finally:
                up.send_signal(signal.SIGINT)
                up.wait(60)
    assert latencies, "no prediction came"
    return {
        "pairs": pairs,
        "candle_seconds": candle,
        "trades_per_second": rate,
        "lag_messages": behind,
        "load_average": load,
        "predictions": len(latencies),
        "p50_ms": statistics.median(latencies),
        "p99_ms": latencies[min(len(latencies) - 1, round(len(latencies) * 0.99))],
        "memory_mib": resident,
    }


def caught_up(log: Path, up: subprocess.Popen[Any], below: int = 5_000) -> None:
    """Waits until two lines in a row tell of a small lag: the past is worked through."""
    while up.poll() is None:
        newest = lags(log.read_text())[-2:]
        if len(newest) == 2 and max(newest) < below:
            return
        time.sleep(1)


def wait_for_prediction(folder: Path, up: subprocess.Popen[Any], deadline: float) -> str:
    """Waits until the pipeline predicts and returns the address of its gRPC server."""
    while time.monotonic() < deadline:
        if up.poll() is not None:
            raise SystemExit(f"`pricecast up` ended with {up.returncode}")
        state = json.loads((folder / "state.json").read_text()) if (folder / "state.json").exists() else {}
        address = state.get("addresses", {}).get("grpc")
        if address:
            try:
                with grpc.insecure_channel(address) as channel:
                    rpc.PredictionServiceStub(channel).Predict(pb.PredictRequest(pair="BTC/USD"), timeout=5)
                return str(address)
            except grpc.RpcError:
                pass
        time.sleep(1)
    raise SystemExit("no prediction in time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades-per-second", type=int, default=1_000)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--candle-seconds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    result = measure(options.trades_per_second, options.seconds, pairs=options.pairs, candle=options.candle_seconds)
    if options.json:
        print(json.dumps(result))
        return
    print(f"candle closed -> prediction held by a client, {result['trades_per_second']} trades/s", end="")
    print(f" of {result['pairs']} pairs: " if result["pairs"] > 1 else ": ", end="")
    print(f"p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms over {result['predictions']} predictions")
    print(f"lag, in messages, every ten seconds: {result['lag_messages']}; load average {result['load_average']:.1f}")
    for name, mib in sorted(result["memory_mib"].items()):
        print(f"{name:24}{mib:8.0f} MiB")


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()
