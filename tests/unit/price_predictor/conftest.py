from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pricecast_price_predictor import versions
from tests.unit.price_predictor.world import World

START_MS = 1_700_000_040_000
STEP_SECONDS = 60
Bars = Callable[..., pl.DataFrame]


def make_bars(count: int, *, seed: int = 1, pair: str = "BTC/USD", step_seconds: int = STEP_SECONDS) -> pl.DataFrame:
    """Bars of a market whose volatility clusters, with some indicator columns; all of them depend on the past alone."""
    rng = np.random.default_rng(seed)
    log_variance = np.zeros(count)
    for row in range(1, count):
        log_variance[row] = 0.99 * log_variance[row - 1] + 0.14 * rng.standard_normal()
    returns = 5e-4 * np.exp(log_variance / 2) * rng.standard_normal(count)
    close = 40_000 * np.exp(np.cumsum(returns))
    opened = np.concatenate(([close[0]], close[:-1]))
    spread = np.abs(returns) * close * rng.random(count)
    frame = pl.DataFrame(
        {
            "pair": [pair] * count,
            "candle_seconds": [step_seconds] * count,
            "window_start_ms": START_MS + step_seconds * 1000 * np.arange(-1, count - 1),
            "window_end_ms": START_MS + step_seconds * 1000 * np.arange(count),
            "open": opened,
            "high": np.maximum(opened, close) + spread,
            "low": np.minimum(opened, close) - spread,
            "close": close,
            "volume": rng.exponential(1.0, count) * np.exp(log_variance / 2),
            "trade_count": rng.integers(0, 100, count),
        }
    )
    gain = pl.col("close").diff().clip(0).rolling_mean(14)
    loss = (-pl.col("close").diff()).clip(0).rolling_mean(14)
    return frame.with_columns(
        rsi_14=(100 * gain / (gain + loss)).fill_null(50.0).fill_nan(50.0),
        sma_21=pl.col("close").rolling_mean(21, min_samples=1),
        macd=(pl.col("close").rolling_mean(10, min_samples=1) - pl.col("close").rolling_mean(24, min_samples=1)),
        atr_10=(pl.col("high") - pl.col("low")).rolling_mean(10, min_samples=1),
        obv=(pl.col("close").diff().sign().fill_null(0.0) * pl.col("volume")).cum_sum(),
        roc_6=(pl.col("close").pct_change(6) * 100).fill_null(0.0),
        volume_ema_10=pl.col("volume").rolling_mean(10, min_samples=1),
        own_idea=pl.col("close").rolling_std(50, min_samples=2).fill_null(0.0),
    )


@pytest.fixture(scope="session")
def bars() -> Bars:
    return make_bars


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(**changes: Any) -> World:
        made.append(World(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def look_for_models_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(versions, "CHALLENGER_SECONDS", 0.0)
