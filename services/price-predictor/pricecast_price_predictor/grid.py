"""Rows on a regular grid of event time, so that so many rows back is so much time back.

Candles are written without holes, but a store may have some: an outage that was never backfilled. A hole is filled
with flat rows, marked as not observed, which are neither learned from nor scored. Nor are the candles that fill an
outage of the exchange (`outage`): they say what was written for want of trades, not what the market did. After a hole longer than a day the
past says little about the present; what lies before it is left out.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricecast_price_predictor.windows import Windows

DAY_SECONDS = 86_400
OUTAGE_ROWS = 30
"""So many rows in a row without a trade are a quiet market; what follows them is taken for an outage."""
TIME = "window_end_ms"
PRICES = ("open", "high", "low", "close")


def day_rows(candle_seconds: int) -> int:
    """Returns how many rows a day has."""
    return max(1, DAY_SECONDS // candle_seconds)


def regular(rows: pl.DataFrame, candle_seconds: int) -> pl.DataFrame:
    """Puts one pair's rows on the grid.

    Args:
        rows: Rows with `window_end_ms`, prices and any other columns; in any order, a repeated time keeps its last row.
        candle_seconds: Step of the grid.

    Returns:
        The rows by time without holes, with a column `observed`; a filled row has the last close as its prices, no
        volume, and every other column's last value.
    """
    step = candle_seconds * 1000
    if (np.diff(rows[TIME].to_numpy()) == step).all():
        return rows.with_columns(observed=pl.lit(value=True))
    rows = rows.unique(TIME, keep="last", maintain_order=True).sort(TIME)
    times = rows[TIME]
    breaks = (times.diff() > DAY_SECONDS * 1000).arg_true()
    if len(breaks):
        rows = rows[int(breaks[-1]) :]
        times = rows[TIME]
    first, last = int(times[0]), int(times[-1])
    if (last - first) // step + 1 == len(rows):
        return rows.with_columns(observed=pl.lit(value=True))
    grid = pl.DataFrame({TIME: pl.int_range(first, last + 1, step, eager=True)})
    filled = grid.join(rows.with_columns(observed=pl.lit(value=True)), on=TIME, how="left", maintain_order="left")
    held = [name for name in rows.columns if name not in (TIME, "volume", "trade_count", *PRICES[:3])]
    return filled.with_columns(
        pl.col("observed").fill_null(value=False),
        *(pl.col(name).fill_null(0) for name in ("volume", "trade_count") if name in rows.columns),
        *(pl.col(name).forward_fill() for name in held),
    ).with_columns(pl.col(name).fill_null(pl.col("close")) for name in PRICES[:3])


def outage(rows: pl.DataFrame, last: int | None = None) -> NDArray[np.bool_]:
    """Returns which rows on a grid belong to an outage: those after `OUTAGE_ROWS` rows in which nobody traded.

    A row says so itself: no volume, no trades, one price. Bars whose trades weren't recorded have a volume. A row
    depends on those before it alone, so that it is judged live as it is in training.

    Args:
        rows: Rows on a grid.
        last: How many of the last rows are judged; by default all.
    """
    if last is not None:
        rows = rows[max(0, len(rows) - last - OUTAGE_ROWS) :]
    empty = (rows["volume"].to_numpy() == 0) & (rows["high"].to_numpy() == rows["low"].to_numpy())
    if "trade_count" in rows.columns:
        empty &= rows["trade_count"].to_numpy() == 0
    return np.asarray(Windows(empty.astype(np.float64), last).sum(OUTAGE_ROWS + 1) == OUTAGE_ROWS + 1)
