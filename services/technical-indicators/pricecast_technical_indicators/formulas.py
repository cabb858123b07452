"""The numbers: one row of indicators from a run of candles, as a pure function.

A row is computed from exactly the last `history_candles` candles and nothing else. Recursive averages start anew
with the oldest of them, and cumulative ones (obv) sum over them: so a row is the same whether it is computed live,
on a replay or for a whole table at once, and wherever the stream began. By the end of 300 candles the start of a
recursive average weighs less than a millionth.

tulipy (after Tulip Indicators) computes whatever it has and does well. The formulas below are those that it lacks,
or whose running sums lose their digits at high prices or in a market that stands still; their definitions are
TA-Lib's (https://ta-lib.org/functions/), and so are the units: rate of change in percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tulipy as untyped_tulipy
from numpy.typing import NDArray

from pricecast_core.indicators import Chosen

tulipy: Any = untyped_tulipy
Array = NDArray[np.float64]
COLUMNS = ("open", "high", "low", "close", "volume")
"""Rows of the array of candles, in order."""
_NEUTRAL = {"zero": 0.0, "fifty": 50.0}


def compute(chosen: Sequence[Chosen], candles: Array) -> dict[str, float]:
    """Returns the indicators at the newest candle.

    Args:
        chosen: What to compute.
        candles: Shape (5, candles): open, high, low, close, volume, oldest first; C-contiguous rows.

    Returns:
        The value of each column. All are finite: where a formula has no value (0/0 in a market that stands still),
        it is the column's neutral one.
    """
    row: dict[str, float] = {}
    by_name = dict(zip(COLUMNS, candles, strict=True))
    for one in chosen:
        inputs = [by_name[name] for name in one.indicator.inputs]
        if one.indicator.windowed:
            need = one.indicator.needs(one.periods)
            inputs = [series[-need:] for series in inputs]
        values = _FORMULAS.get(one.indicator.function, _tulipy)(one, inputs)
        for column, output, value in zip(one.columns, one.indicator.outputs, values, strict=True):
            number = float(value)
            if not math.isfinite(number):
                number = float(candles[3, -1]) if output.neutral == "close" else _NEUTRAL[output.neutral]
            row[column] = number
    return row


def rows(chosen: Sequence[Chosen], candles: Array, history: int) -> list[dict[str, float]]:
    """Returns the indicators at every candle that has `history` - 1 before it: the stream's rows, computed at once.

    Args:
        chosen: What to compute.
        candles: Shape (5, candles), as for `compute`.
        history: Candles that a row is computed from.
    """
    return [
        compute(chosen, np.ascontiguousarray(candles[:, end - history : end]))
        for end in range(history, candles.shape[1] + 1)
    ]


def _tulipy(one: Chosen, inputs: list[Array]) -> list[float]:
    answer = getattr(tulipy, one.indicator.function)(*inputs, *one.periods)
    return [series[-1] for series in (answer if isinstance(answer, tuple) else (answer,))]


def _bollinger_bands(one: Chosen, inputs: list[Array]) -> list[float]:
    # Of the distances from the newest close: the variance keeps its digits, and is 0 where the price stands still.
    (close,) = inputs
    newest = close[-1]
    return [newest + series[-1] for series in tulipy.bbands(close - newest, *one.periods)]


def _stochastic_rsi(one: Chosen, inputs: list[Array]) -> list[float]:
    rsi_period, k_period, d_period = one.periods
    rsi = [
        50.0 if math.isnan(value) else value
        for value in _tail(tulipy.rsi(*inputs, rsi_period), k_period + d_period - 1)
    ]
    k = []
    for end in range(k_period, len(rsi) + 1):
        run = rsi[end - k_period : end]
        low, high = min(run), max(run)
        k.append((run[-1] - low) / (high - low) * 100 if high > low else 50.0)
    return [k[-1], math.fsum(k) / d_period]


def _average_directional_index(one: Chosen, inputs: list[Array]) -> list[float]:
    # Wilder's smoothing of dx; tulipy's own adx never recovers from one dx of 0/0.
    (period,) = one.periods
    dx = tulipy.dx(*inputs, period)
    dx[np.isnan(dx)] = 0.0
    return [tulipy.wilders(dx, period)[-1]]


def _ichimoku(one: Chosen, inputs: list[Array]) -> list[float]:
    # The spans as they are computed at this candle; a chart draws them further to the right.
    high, low, _ = (series.tolist() for series in inputs)
    conversion, base, span_b = ((max(high[-period:]) + min(low[-period:])) / 2 for period in one.periods)
    return [conversion, base, (conversion + base) / 2, span_b]


def _money_flow_index(one: Chosen, inputs: list[Array]) -> list[float]:
    typical = [sum(prices) / 3 for prices in zip(*(series.tolist() for series in inputs[:3]), strict=True)]
    flows = [price * volume for price, volume in zip(typical, inputs[3].tolist(), strict=True)]
    steps = list(zip(typical, typical[1:], flows[1:], strict=False))
    up = math.fsum(flow for before, after, flow in steps if after > before)
    down = math.fsum(flow for before, after, flow in steps if after < before)
    return [100 * up / (up + down) if up + down else math.nan]


def _rate_of_change(_one: Chosen, inputs: list[Array]) -> list[float]:
    (close,) = inputs
    return [(close[-1] / close[0] - 1) * 100]


def _tail(series: Array, count: int) -> list[float]:
    values: list[float] = series[-count:].tolist()
    return values


_FORMULAS: dict[str, Callable[[Chosen, list[Array]], list[float]]] = {
    "bollinger_bands": _bollinger_bands,
    "stochastic_rsi": _stochastic_rsi,
    "average_directional_index": _average_directional_index,
    "ichimoku": _ichimoku,
    "money_flow_index": _money_flow_index,
    "rate_of_change": _rate_of_change,
}

__all__ = ["COLUMNS", "Array", "compute", "rows"]
