"""Features that remember two weeks: the same time on earlier days, the same weekday, and the days' volatility.

They reach far back but look at few rows there, so that a single new row costs little: of each earlier day only the
window that is asked for is read. A value depends on the rows of those windows alone, in a fixed order: equal bits for
all rows of a training and for the last row of a live view. Days from before the data are left out of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pricecast_price_predictor.windows import Floats, Windows, lag, log_ratio

DAYS = 14
"""Days looked back at."""
SEASON_SECONDS = (300, 900, 3600)
"""Spans whose variation at the same time of earlier days is compared: those of usual horizons."""
LONG_DAYS = (3, 7, 14)
_WEEKLY = (6, 13)
_HOUR_SECONDS = 3600


def lookback_rows(candle_seconds: int, day: int) -> int:
    """Returns how many rows up to its own a row's features depend on."""
    return DAYS * day + _rows(_HOUR_SECONDS, candle_seconds)


def features(moves: Floats, volume: Floats, scale: Floats, candle_seconds: int, day: int) -> dict[str, Floats]:
    """Returns the features of the last rows.

    Args:
        moves: Absolute one-row log-returns of all rows.
        volume: Volume of all rows.
        scale: Local volatility of the last rows: as many as are wanted.
        candle_seconds: Step of the rows.
        day: Rows of a day.
    """
    count = len(scale)
    earlier = [day * (number + 1) for number in range(DAYS)]
    hour = _rows(_HOUR_SECONDS, candle_seconds)
    around = _mean_of_known(lagged_means(moves, hour, earlier, count))
    found: dict[str, Floats] = {}
    for seconds in SEASON_SECONDS:
        rows = min(day, _rows(seconds, candle_seconds))
        same_time = lagged_means(moves, rows, [ago - rows for ago in earlier], count)
        season = _mean_of_known(same_time)
        found[f"season_{seconds}"] = log_ratio(season, scale)
        found[f"season_week_{seconds}"] = log_ratio(_mean_of_known([same_time[ago] for ago in _WEEKLY]), scale)
        found[f"season_rise_{seconds}"] = log_ratio(season, around)
    days = lagged_means(moves, day, [day * number for number in range(DAYS)], count)
    for number in LONG_DAYS:
        found[f"volatility_{number}d"] = log_ratio(_mean_of_known(days[:number]), scale)
    then = _mean_of_known(lagged_means(volume, hour, [ago - min(day, hour) for ago in earlier], count))
    found["volume_season"] = log_ratio(then, lagged_means(volume, hour, [0], count)[0])
    return found


def lagged_means(values: Floats, window: int, lags: Sequence[int], count: int) -> list[Floats]:
    """Returns the mean over a trailing window as it stood so many rows before each of the last `count` rows."""
    total = len(values)
    if count * len(lags) >= total:  # all rows at once: one pass over everything is cheaper
        means = Windows(values).mean(window)
        return [lag(means, ago)[total - count :] for ago in lags]
    size = count + window - 1
    parts = np.full((len(lags), size), np.nan)
    for part, ago in zip(parts, lags, strict=True):
        stop = total - ago
        known = values[max(0, stop - size) : max(0, stop)]
        if len(known):
            part[size - len(known) :] = known
    means = Windows(parts.ravel()).mean(window).reshape(parts.shape)
    return [row[size - count :] for row in means]


def _rows(seconds: int, candle_seconds: int) -> int:
    return max(1, seconds // candle_seconds)


def _mean_of_known(parts: Sequence[Floats]) -> Floats:
    total, known = np.zeros(len(parts[0])), np.zeros(len(parts[0]))
    for part in parts:  # one by one: numpy's own sum takes another order for other shapes
        is_known = np.isfinite(part)
        total = total + np.where(is_known, part, 0.0)
        known = known + is_known
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)
