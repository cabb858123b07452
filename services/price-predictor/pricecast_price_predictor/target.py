"""What is learned: the log-return over the horizon, and how far the price moves on its way.

Trees can't extrapolate price levels, so returns are predicted and prices are given. One return says little about
how wide its distribution was; the mean absolute one-candle return over the same future rows says it with a fraction
of the noise, so the width is learned from that (a realised measure, as in Corsi's HAR, 2009).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricecast_price_predictor.windows import Floats, Windows, lag


def horizon_rows(horizon_seconds: int, candle_seconds: int) -> int:
    """Returns the horizon in rows.

    Raises:
        ValueError: If the horizon isn't a multiple of the candle.
    """
    rows, rest = divmod(horizon_seconds, candle_seconds)
    if rest or rows < 1:
        raise ValueError(f"horizon: {horizon_seconds} s is no multiple of the candle's {candle_seconds} s")
    return rows


def future_return(log_close: Floats, rows: int) -> Floats:
    """Returns the log-return from each row to `rows` rows later; NaN where that lies beyond the data."""
    out = np.full(len(log_close), np.nan)
    if rows < len(log_close):
        out[:-rows] = log_close[rows:] - log_close[:-rows]
    return out


def future_variation(log_close: Floats, rows: int) -> Floats:
    """Returns the mean absolute one-row log-return over the next `rows` rows; NaN where they lie beyond the data."""
    past = Windows(np.abs(log_close - lag(log_close, 1))).mean(rows)
    out = np.full(len(log_close), np.nan)
    if rows < len(log_close):
        out[:-rows] = past[rows:]
    return out


def has_outcome(observed: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Returns whether each row and the `rows` rows after it are of the market: none of them fills a hole or an outage.

    Rows whose outcome lies beyond the data count by those that are there.
    """
    invented = np.concatenate(([0], np.cumsum(~observed)))
    ends = np.minimum(np.arange(len(observed)) + rows + 1, len(observed))
    return np.asarray(invented[ends] == invented[:-1])
