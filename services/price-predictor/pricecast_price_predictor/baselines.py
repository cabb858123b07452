"""What a model has to beat: the last close, an average, and the distribution of yesterday's returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricecast_core.values import QUANTILES
from pricecast_price_predictor.windows import Floats, Windows

MIN_NAIVE_ROWS = 100
"""Fewest realised returns from which the naive distribution is drawn."""


def naive_quantiles(
    log_close: Floats, horizon: int, day_rows: int, levels: Sequence[float] = QUANTILES
) -> NDArray[np.float64]:
    """Returns the naive distribution at each row: quantiles of the horizon's returns realised over the last day.

    Only returns that have ended by the row count, so nothing of the future is in it.

    Args:
        log_close: Log of the closes, one a row.
        horizon: Horizon in rows.
        day_rows: Rows of one day: how many realised returns are looked at.
        levels: Which quantiles.

    Returns:
        Log-return quantiles of shape (rows, levels); NaN while fewer than `MIN_NAIVE_ROWS` returns are realised.
    """
    realised = np.full(len(log_close), np.nan)
    if horizon < len(log_close):
        realised[horizon:] = log_close[horizon:] - log_close[:-horizon]
    series = pl.Series(realised[horizon:])
    out = np.full((len(log_close), len(levels)), np.nan)
    if len(series) == 0:
        return out
    for column, quantile in enumerate(levels):
        rolled = series.rolling_quantile(
            quantile, interpolation="linear", window_size=day_rows, min_samples=min(MIN_NAIVE_ROWS, day_rows)
        )
        out[horizon:, column] = rolled.to_numpy()
    return out


def sma_return(log_close: Floats, rows: int) -> Floats:
    """Returns the point forecast of a simple moving average, as a log-return from the last close."""
    return Windows(log_close).mean(rows) - log_close
