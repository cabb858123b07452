"""How long training takes, on 30,000 and on 300,000 rows, and how fast a new row is forecast.

A training is what the job does: features, walk-forward evaluation over four folds, final fit; without a search, whose
time is a setting. A forecast of one row is what serving does for each candle, but for the stores: features of the rows
looked back at, and the model. One thread.

    uv run --no-sync python -m benchmarks.bench_training [--rows 30000 300000] [--runs 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from pricecast_core.indicators import choose, columns
from pricecast_price_predictor import features, grid, model, model_selection
from pricecast_price_predictor.features import FeatureSpec
from pricecast_price_predictor.forecasting import Forecaster
from pricecast_price_predictor.model_selection import Options
from pricecast_price_predictor.models.base import Sample
from pricecast_price_predictor.tuning import Budget

HORIZON_ROWS = 5
LIVE_ROWS = 200


def market(count: int) -> pl.DataFrame:
    """Returns one-minute bars whose volatility clusters, with the default indicators' columns filled by numbers."""
    rng = np.random.default_rng(5)
    shocks = 0.14 * rng.standard_normal(count)
    log_variance = np.convolve(shocks, 0.99 ** np.arange(1_000))[:count]
    close = 40_000 * np.exp(np.cumsum(5e-4 * np.exp(log_variance / 2) * rng.standard_normal(count)))
    opened = np.concatenate(([close[0]], close[:-1]))
    kinds = columns(choose([]))
    noise = {name: close * (1 + 1e-3 * rng.standard_normal(count)) for name in kinds}
    bounded = {name: 100 * rng.random(count) for name, kind in kinds.items() if kind in ("bounded", "percent")}
    return pl.DataFrame(
        {
            "pair": ["BTC/USD"] * count,
            "window_end_ms": 1_700_000_040_000 + 60_000 * np.arange(count),
            "open": opened,
            "high": np.maximum(opened, close),
            "low": np.minimum(opened, close),
            "close": close,
            "volume": rng.exponential(1.0, count),
            **noise,
            **bounded,
        }
    )


def measure(count: int, runs: int) -> dict[str, float]:
    """Returns medians, in seconds, for so many rows."""
    rows = grid.regular(market(count), 60)
    spec = FeatureSpec(60, tuple(sorted(columns(choose([])))))
    table = features.compute(spec, rows)
    return {
        "features_seconds": _median(runs, lambda: features.compute(spec, rows)),
        "fit_seconds": _median(runs, lambda: model.fit(Sample(spec, table, HORIZON_ROWS))),
        "training_seconds": _median(
            runs, lambda: model_selection.train(Sample(spec, table, HORIZON_ROWS), Options(Budget(0)))
        ),
    }


def measure_live() -> dict[str, float]:
    """Returns the time to forecast one new row, in milliseconds."""
    rows = grid.regular(market(30_000), 60)
    spec = FeatureSpec(60, tuple(sorted(columns(choose([])))))
    forecaster = Forecaster(model.fit(Sample(spec, features.compute(spec, rows), HORIZON_ROWS, 25_000)))
    forecaster.advance(features.compute(spec, rows[:25_500]))
    times = []
    for stop in range(25_501, 25_501 + LIVE_ROWS):
        seen = rows[stop - forecaster.rows_needed() : stop]
        start = time.perf_counter()
        last = forecaster.rows_wanted(seen["window_end_ms"].to_numpy())
        forecaster.advance(features.compute(spec, seen, last=last))
        times.append((time.perf_counter() - start) * 1000)
    return {"p50_ms": statistics.median(times), "p99_ms": float(np.quantile(times, 0.99))}


def _median(runs: int, call: Callable[[], Any]) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[30_000, 300_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    found: dict[str, Any] = {"live": measure_live(), "rows": {}}
    for count in options.rows:
        found["rows"][str(count)] = measure(count, options.runs)
    found["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps(found))
        return
    for count, figures in found["rows"].items():
        print(f"{int(count):>9,} rows: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    print(f"one new row: p50 {found['live']['p50_ms']:.2f} ms, p99 {found['live']['p99_ms']:.2f} ms")
    print(f"memory: {found['memory_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
