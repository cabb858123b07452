"""Features: what is known at a candle's close, free of scale and level, from bounded windows.

One function computes them for training (all rows) and for serving (the last rows), bit for bit the same: every value
depends on at most `FeatureSpec.lookback_rows` rows up to its own. Returns are in units of a local volatility, the
`scale`; volatilities are ratios to it; indicators become ratios by what they measure. So a model learned at one price
and one volatility holds at another.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricecast_core.indicators import INDICATORS, Kind
from pricecast_core.stores.features import CANDLE_COLUMNS
from pricecast_core.values import slug
from pricecast_price_predictor import memory
from pricecast_price_predictor.grid import TIME, day_rows, outage
from pricecast_price_predictor.windows import Floats, Windows, decayed_means, decayed_rows, lag, log_ratio, log_ratios

SCALE_WINDOWS = (10, 30, 90)
"""Rows whose mean absolute returns make the scale: a short and a long memory, as in HAR models."""
VOLATILITY_WINDOWS = (1, 3, 5, 10, 20, 60, 180)
RANGE_WINDOWS = (1, 5, 20, 60)
RETURN_WINDOWS = (1, 3, 5, 10, 20, 60, 180)
PATH_WINDOWS = (10, 60)
EWMA_HALF_LIVES = (5, 20, 60, 120)
SHAPE_WINDOWS = (10, 60)
"""Rows over which falls and jumps are weighed against all moves; the day is one more."""
VOLUME_WINDOWS = (1, 5, 20)
VOLUME_REFERENCE = 60
ROLLING_Z_ROWS = 240
SIGNED_VOLUME_ROWS = 20
_LEAST_MOVE = 1e-9
"""Log-return below which a market counts as standing still: the one number that is not relative to the market."""
_ROUNDING = 1e-12
_WEEK_MS = 604_800_000
_QUIET_SHARE = 0.05
_QUIET_ROWS = 1_440
NEWS_HALF_LIFE_SECONDS = 3600.0

NOT_INDICATORS = frozenset({*CANDLE_COLUMNS, "coin", "observed"})


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which features a model uses; stored with it.

    Attributes:
        candle_seconds: Step of the rows.
        indicators: Indicator columns of the pair's rows, such as `rsi_14`.
        companions: Other pairs whose volatility and returns help.
        news: Whether the coin's news signals are used.
    """

    candle_seconds: int
    indicators: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    news: bool = False

    @property
    def name(self) -> str:
        """Name of the set of features: another one has another name."""
        told = [self.candle_seconds, self.indicators, self.companions, self.news]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]

    @property
    def day(self) -> int:
        """Rows of one day."""
        return day_rows(self.candle_seconds)

    @property
    def short_rows(self) -> int:
        """How many rows up to its own all but the long memory depends on."""
        ewma = max(decayed_rows(half_life) for half_life in EWMA_HALF_LIVES)
        longest = max(self.day, 2 * ROLLING_Z_ROWS, ewma, *VOLATILITY_WINDOWS, *RETURN_WINDOWS, *SCALE_WINDOWS)
        return longest + max(PATH_WINDOWS) + 2

    @property
    def lookback_rows(self) -> int:
        """How many rows up to its own a feature row depends on."""
        return max(self.short_rows, memory.lookback_rows(self.candle_seconds, self.day) + 2)


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features of one pair, a row for each candle.

    Attributes:
        names: Names of the features.
        values: Features, float32, shape (rows, features); NaN where not known yet.
        scale: Local volatility: mean absolute one-row log-return, shape (rows,); NaN during warm-up.
        log_close: Log of the close.
        time_ms: Event time of each row.
        observed: False where the row fills a hole.
        before: Log of the closes of the rows before the first, as far as they are known.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]
    scale: Floats
    log_close: Floats
    time_ms: NDArray[np.int64]
    observed: NDArray[np.bool_]
    before: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.time_ms)

    def rows(self, start: int, stop: int) -> FeatureTable:
        """Returns some of the rows."""
        part = slice(start, stop)
        return FeatureTable(
            self.names,
            self.values[part],
            self.scale[part],
            self.log_close[part],
            self.time_ms[part],
            self.observed[part],
            np.concatenate((self.before, self.log_close[: max(0, start)])),
        )


def indicator_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Returns those of a feature group's columns that are indicators, sorted."""
    return tuple(sorted(set(columns) - NOT_INDICATORS))


def compute(
    spec: FeatureSpec,
    rows: pl.DataFrame,
    companions: Mapping[str, pl.DataFrame] | None = None,
    news: pl.DataFrame | None = None,
    *,
    last: int | None = None,
) -> FeatureTable:
    """Computes the features of a pair.

    Args:
        spec: Which ones.
        rows: The pair's rows on a regular grid (`grid.regular`).
        companions: Rows of each companion pair on its grid. A companion is read as of one candle earlier: live, its
            newest row may come a moment later than this pair's.
        news: The coin's signals (`timestamp_ms`, `signal`). Read as of one candle earlier, too: reading takes time.
        last: How many of the last rows are wanted; by default all. They are the same bits either way.

    Returns:
        The table; row `t` depends on nothing later than row `t`.
    """
    wanted = len(rows) if last is None else min(last, len(rows))
    first = max(0, len(rows) - wanted - spec.short_rows)
    near = rows[first:]
    log_close, volume = np.log(_floats(rows["close"])), _floats(rows["volume"])
    sizes = np.abs(log_close - lag(log_close, 1))
    moves = Windows(sizes[first:], wanted)
    scale = local_scale(moves, spec.day)
    time_ms = near[TIME].to_numpy()[len(near) - wanted :].astype(np.int64)
    known_ms = time_ms - spec.candle_seconds * 1000
    features = {
        **_price_features(near, log_close[first:], moves, scale, spec.day),
        **_clock_features(time_ms),
        **_indicator_features(near, spec.indicators, scale),
    }
    for pair in spec.companions:
        features.update(_companion_features(pair, (companions or {}).get(pair), known_ms, scale, spec))
    if spec.news:
        features.update(_news_features(news, known_ms))
    features |= memory.features(sizes, volume, scale, spec.candle_seconds, spec.day)
    values = np.empty((wanted, len(features)), np.float32)
    for column, value in enumerate(features.values()):
        values[:, column] = value
    return FeatureTable(
        names=tuple(features),
        values=values,
        scale=scale,
        log_close=log_close[len(rows) - wanted :],
        time_ms=time_ms,
        observed=near["observed"].to_numpy()[len(near) - wanted :] & ~outage(near, wanted),
        before=log_close[: len(rows) - wanted],
    )


def local_scale(moves: Windows, day: int) -> Floats:
    """Returns the local volatility, from the sizes of one-row log-returns; never zero, however quiet the market."""
    local = sum((moves.mean(rows) for rows in SCALE_WINDOWS[1:]), moves.mean(SCALE_WINDOWS[0])) / len(SCALE_WINDOWS)
    floor = np.fmax(moves.mean(min(day, _QUIET_ROWS)) * _QUIET_SHARE, _LEAST_MOVE)
    return np.maximum(local, floor)


def _price_features(
    rows: pl.DataFrame, log_close: Floats, moves: Windows, scale: Floats, day: int
) -> dict[str, Floats]:
    last, change = len(scale), log_close - lag(log_close, 1)
    sizes, now = np.abs(change), lag(log_close, 0, last)
    log_low = np.log(_floats(rows["low"]))
    width = np.log(_floats(rows["high"])) - log_low
    ranges = Windows(width, last)
    means = {f"volatility_{w}": moves.mean(w) for w in VOLATILITY_WINDOWS}
    features = log_ratios({**means, "volatility_day": moves.mean(day)}, scale)
    features |= log_ratios({f"range_{w}": ranges.mean(w) for w in RANGE_WINDOWS}, scale)
    paths = {f"path_{w}": Windows(np.abs(log_close - lag(log_close, w)), last).mean(w) for w in PATH_WINDOWS}
    features |= log_ratios(paths, scale * np.sqrt(PATH_WINDOWS)[:, np.newaxis])
    for w in RETURN_WINDOWS:
        features[f"return_{w}"] = (now - lag(log_close, w, last)) / (scale * math.sqrt(w))
    decayed = decayed_means(sizes, EWMA_HALF_LIVES, last)
    features |= log_ratios({f"ewma_{hl}": mean for hl, mean in zip(EWMA_HALF_LIVES, decayed, strict=True)}, scale)
    falls, volume = np.where(change < 0, sizes, sizes * 0.0), _floats(rows["volume"])
    together = Windows(np.stack((falls, sizes**2, volume)), last)
    shapes: dict[str, Floats] = {}
    for w, name in (*((w, str(w)) for w in SHAPE_WINDOWS), (day, "day")):
        fallen, squared, _ = together.mean(w)
        shapes |= {f"falls_{name}": fallen, f"jumps_{name}": np.sqrt(squared)}
    features |= log_ratios(shapes, np.stack([moves.mean(w) for w in (*SHAPE_WINDOWS, day) for _ in range(2)]))
    width, above_low = lag(width, 0, last), now - lag(log_low, 0, last)
    features["close_in_range"] = np.where(width > 0, above_low / np.where(width > 0, width, 1.0), 0.5)
    reference = together.mean(VOLUME_REFERENCE)[2]
    features |= log_ratios({f"volume_{w}": together.mean(w)[2] for w in VOLUME_WINDOWS}, reference)
    features["volume_day"] = log_ratio(reference, together.mean(day)[2])
    return features


def _clock_features(time_ms: NDArray[np.int64]) -> dict[str, Floats]:
    day_angle = (time_ms % 86_400_000) * (2 * math.pi / 86_400_000)
    week_angle = (time_ms % _WEEK_MS) * (2 * math.pi / _WEEK_MS)
    return {
        "weekday": (time_ms // 86_400_000 % 7).astype(np.float64),
        "week_sin": np.sin(week_angle),
        "week_cos": np.cos(week_angle),
        "day_sin": np.sin(day_angle),
        "day_cos": np.cos(day_angle),
        "half_day_sin": np.sin(2 * day_angle),
        "half_day_cos": np.cos(2 * day_angle),
        "hour_part": (time_ms % 3_600_000) / 3_600_000,
    }


def _companion_features(
    pair: str, rows: pl.DataFrame | None, known_ms: NDArray[np.int64], scale: Floats, spec: FeatureSpec
) -> dict[str, Floats]:
    prefix = slug(pair)
    names = [f"{prefix}__volatility_{w}" for w in (5, 60)] + [f"{prefix}__return_{w}" for w in (1, 5, 20)]
    at = np.empty(0, np.int64) if rows is None else np.searchsorted(rows[TIME].to_numpy(), known_ms, side="right") - 1
    if rows is None or not len(at) or at[-1] < 0:
        return {name: np.full(len(known_ms), np.nan) for name in names}
    oldest, newest = max(0, int(at[0])), int(at[-1])
    last = newest + 1 - oldest
    log_close = np.log(_floats(rows["close"])[max(0, oldest - spec.short_rows) : newest + 1])
    moves = Windows(np.abs(log_close - lag(log_close, 1)), last)
    own = local_scale(moves, spec.day)
    values = [*log_ratio(np.stack([moves.mean(w) for w in (5, 60)]), own)]
    values += [(lag(log_close, 0, last) - lag(log_close, w, last)) / (own * math.sqrt(w)) for w in (1, 5, 20)]
    there = np.maximum(at, oldest) - oldest
    return {name: np.where(at >= 0, value[there], np.nan) for name, value in zip(names, values, strict=True)}


def _news_features(news: pl.DataFrame | None, known_ms: NDArray[np.int64]) -> dict[str, Floats]:
    if news is None or news.is_empty():
        empty = np.zeros(len(known_ms))
        return {"news_signal": empty, "news_decayed": empty, "news_count_1h": empty, "news_count_1d": empty}
    news = news.sort("timestamp_ms")
    time_ms = news["timestamp_ms"].to_numpy().astype(np.int64)
    signal = news["signal"].to_numpy().astype(np.float64)
    until = np.searchsorted(time_ms, known_ms, side="right")
    at = np.maximum(until - 1, 0)
    latest = np.where(until > 0, signal[at], 0.0)
    age = np.maximum(known_ms - time_ms[at], 0) / 1000.0
    counts = {
        name: (until - np.searchsorted(time_ms, known_ms - span, side="right")).astype(np.float64)
        for name, span in (("news_count_1h", 3_600_000), ("news_count_1d", 86_400_000))
    }
    return {"news_signal": latest, "news_decayed": latest * np.exp2(-age / NEWS_HALF_LIFE_SECONDS), **counts}


def _indicator_features(rows: pl.DataFrame, names: tuple[str, ...], scale: Floats) -> dict[str, Floats]:
    last = len(scale)
    wanted = {"close", "volume", *names}
    columns = {name: _floats(rows[name]) for name in rows.columns if name in wanted}
    volume = columns["volume"]
    close, missing = lag(columns["close"], 0, last), np.full(len(rows), np.nan)
    features = dict.fromkeys(names, close)
    for kind, alike in _by_kind(names):
        values = [columns.get(name, missing) for name in alike]
        value = np.stack([lag(one, 0, last) for one in values])
        match kind:
            case "price":
                found = np.log(np.where(value > 0, value, np.nan) / close) / scale
            case "price_difference":
                found = value / close / scale
            case "percent":
                found = value / 100 / scale
            case "bounded":
                found = (value - 50) / 50
            case "volume":
                found = log_ratio(np.broadcast_to(lag(volume, 0, last), value.shape), value)
            case "signed_volume":
                traded = Windows(volume, last).sum(SIGNED_VOLUME_ROWS)
                moved = value - np.stack([lag(one, SIGNED_VOLUME_ROWS, last) for one in values])
                found = np.where(traded > 0, moved / np.where(traded > 0, traded, 1.0), traded)
            case None:
                found = np.stack([_rolling_z(one, last) for one in values])
        features.update(zip(alike, found, strict=True))
    return features


@functools.cache
def _by_kind(names: tuple[str, ...]) -> list[tuple[Kind | None, list[str]]]:
    kinds = [indicator_kind(name) for name in names]
    return [
        (kind, [name for name, one in zip(names, kinds, strict=True) if one == kind]) for kind in dict.fromkeys(kinds)
    ]


def indicator_kind(column: str) -> Kind | None:
    """Returns what kind of number an indicator's column holds: it decides how the value is made free of scale."""
    known = [one for one in INDICATORS if column == one.name or column.startswith(f"{one.name}_")]
    if not known:
        return None
    indicator = max(known, key=lambda one: len(one.name))
    rest = column.removeprefix(indicator.name).lstrip("_")
    outputs = [output for output in indicator.outputs if rest.startswith(output.suffix)]
    return max(outputs, key=lambda output: len(output.suffix)).kind if outputs else None


def _rolling_z(values: Floats, last: int) -> Floats:
    means = Windows(values).mean(ROLLING_Z_ROWS)
    spread = Windows(np.abs(values - means), last).mean(ROLLING_Z_ROWS // 2)
    value, mean = lag(values, 0, last), lag(means, 0, last)
    moves = spread > _ROUNDING * np.abs(mean)
    return np.asarray(np.where(moves, (value - mean) / np.where(moves, spread, 1.0), spread * 0.0))


def _floats(column: pl.Series) -> Floats:
    return column.to_numpy().astype(np.float64, copy=False)  # a null becomes NaN
