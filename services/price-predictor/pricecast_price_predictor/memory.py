"""Features that remember two weeks: the same time on earlier days, the same weekday, and the days' volatility.

They reach far back but look at few rows there, so that a single new row costs little: of each earlier day only the
window that is asked for is read. A value depends on the rows of those windows alone, in a fixed order: equal bits for
all rows of a training and for the last row of a live view. Days from before the data are left out of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pricecast_price_predictor.windows import Floats, Windows, lag, log_ratio, log_ratios, whole_sum

DAYS = 14
"""Days looked back at."""
SEASON_SECONDS = (300, 900, 3600)
"""Spans whose variation at the same time of earlier days is compared: those of usual horizons."""
LONG_DAYS = (3, 7, 14)
_WEEKLY = [6, 13]
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
    spans = {seconds: min(day, _rows(seconds, candle_seconds)) for seconds in SEASON_SECONDS}
    # A day before each row: the hour until then, and the spans that began then.
    around, *same_times = lagged_means(moves, [(hour, 0), *((rows, -rows) for rows in spans.values())], earlier, count)
    (then,) = lagged_means(volume, [(hour, -min(day, hour))], earlier, count)
    (days,) = lagged_means(moves, [(day, 0)], [day * number for number in range(DAYS)], count)
    usual, usual_volume, *seasons = _means_of_known(np.stack((around, then, *same_times), axis=1))[-1]
    weekly = _means_of_known(np.stack([same_time[_WEEKLY] for same_time in same_times], axis=1))[-1]
    long = _means_of_known(days)
    to_scale: dict[str, Floats] = {}
    for seconds, season, week in zip(spans, seasons, weekly, strict=True):
        to_scale |= {f"season_{seconds}": season, f"season_week_{seconds}": week}
    ratios = log_ratios(to_scale | {f"volatility_{number}d": long[number - 1] for number in LONG_DAYS}, scale)
    rises = log_ratio(np.stack(seasons), usual)
    found: dict[str, Floats] = {}
    for seconds, rise in zip(spans, rises, strict=True):
        for name in (f"season_{seconds}", f"season_week_{seconds}"):
            found[name] = ratios.pop(name)
        found[f"season_rise_{seconds}"] = rise
    found |= ratios
    found["volume_season"] = log_ratio(usual_volume, Windows(volume[-hour - count :], count).mean(hour))
    return found


def lagged_means(values: Floats, windows: Sequence[tuple[int, int]], lags: Sequence[int], count: int) -> list[Floats]:
    """Returns means over trailing windows as they stood so many rows before each of the last `count` rows.

    Args:
        values: The series.
        windows: Length of each window, and how many rows before the lag it ends: negative where it ends after.
        lags: How many rows before.
        count: For how many of the last rows.

    Returns:
        For each window means with a row for each lag.
    """
    total = len(values)
    if count * len(lags) >= total:  # all rows at once: one pass over everything is cheaper
        everywhere = Windows(values)
        found = ((everywhere.mean(rows), ago) for rows, ago in windows)
        return [np.stack([lag(mean, one + ago, count) for one in lags]) for mean, ago in found]
    if count == 1 and len(windows) == 1:
        ((rows, ago),) = windows
        return [whole_sum(np.stack([lag(values, one + ago, rows) for one in lags]))[:, np.newaxis] / rows]
    latest = min(ago for _, ago in windows)
    reach = max(rows + ago - latest for rows, ago in windows) - 1
    ends = max(ago for _, ago in windows) - latest
    parts = Windows(np.stack([lag(values, one + latest, count + reach) for one in lags]), count + ends)
    return [lag(parts.mean(rows), ago - latest, count) for rows, ago in windows]


def _rows(seconds: int, candle_seconds: int) -> int:
    return max(1, seconds // candle_seconds)


def _means_of_known(parts: Floats) -> Floats:
    """Returns for each place along the first axis the mean of what is known up to there."""
    is_known = np.isfinite(parts)
    known = np.add.accumulate(is_known, axis=0, dtype=np.int64)
    total = np.where(is_known, parts, 0.0)
    np.add.accumulate(total, axis=0, out=total)  # one by one: numpy's own sum takes another order for other shapes
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)
