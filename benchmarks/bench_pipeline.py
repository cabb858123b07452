"""A whole pipeline on this machine: from the end of a candle to a prediction that can be read, and each service's memory.

    uv run --no-sync python -m benchmarks.bench_pipeline [--trades-per-second 1000] [--seconds 60] [--json]

`pricecast up` runs a simulated market at that rate, with candles of two seconds; a gRPC client watches. Latency is
counted from the end of a candle, by the clock, to the moment at which the client holds the prediction made from it.
"""

from __future__ import annotations

import argparse
import json
import os
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
  pairs: [BTC/USD]
  source: {{kind: Simulated, since: 15m, simulated: {{tradesPerSecond: {rate}}}}}
  candles: {{seconds: 2}}
  training: {{schedule: "0 0 1 1 *", lookback: 1d, minRows: 10000}}
  prediction: {{horizonsSeconds: [10]}}
"""
PRICECAST = str(Path(sys.executable).with_name("pricecast"))


def watch(address: str, seconds: float) -> list[float]:
    """Returns the latencies, in milliseconds, of the predictions that arrive within so many seconds."""
    found: list[float] = []
    with grpc.insecure_channel(address) as channel:
        stream = rpc.PredictionServiceStub(channel).WatchPredictions(
            pb.WatchPredictionsRequest(pairs=["BTC/USD"]), timeout=seconds
        )
        try:
            for response in stream:
                closed = response.prediction.feature_time.ToMilliseconds()
                found.append(time.time() * 1000 - closed)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:  # the end of the watch
                raise
    return found[1:]  # the first was there before the watch


def memory(folder: Path) -> dict[str, float]:
    """Returns the proportional share of memory, MiB, of each program of the pipeline."""
    programs = json.loads((folder / "state.json").read_text())["programs"]
    return {
        name: psutil.Process(entry["process"]["pid"]).memory_full_info().pss / 2**20
        for name, entry in programs.items()
        if entry.get("process")
    }


def measure(rate: int, seconds: float, more: str = "") -> dict[str, Any]:
    """Runs the pipeline and returns its figures. `more` are further lines of its spec."""
    with tempfile.TemporaryDirectory(prefix="pricecast-bench-") as temporary:
        folder, manifest = Path(temporary) / "data", Path(temporary) / "bench.yaml"
        manifest.write_text(PIPELINE.format(rate=rate) + more)
        with (Path(temporary) / "log").open("w") as log:
            up = subprocess.Popen(
                [PRICECAST, "up", str(manifest), "--data-dir", str(folder), "--no-view"], stdout=log, stderr=log
            )
            try:
                address = wait_for_prediction(folder, up, deadline=time.monotonic() + 240)
                latencies = sorted(watch(address, seconds))
                resident = memory(folder)
            finally:
                up.send_signal(signal.SIGINT)
                up.wait(60)
    assert latencies, "no prediction came"
    return {
        "trades_per_second": rate,
        "predictions": len(latencies),
        "p50_ms": statistics.median(latencies),
        "p99_ms": latencies[min(len(latencies) - 1, round(len(latencies) * 0.99))],
        "memory_mib": resident,
    }


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
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    result = measure(options.trades_per_second, options.seconds)
    if options.json:
        print(json.dumps(result))
        return
    print(f"candle closed -> prediction held by a client, {result['trades_per_second']} trades/s: ", end="")
    print(f"p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms over {result['predictions']} candles")
    for name, mib in sorted(result["memory_mib"].items()):
        print(f"{name:24}{mib:8.0f} MiB")


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()
