"""Knows when it doesn't know: how far a row is from those learned from, and how far the features' distributions moved.

The distance of a row is the root mean square of its standardised features, in units of what one row in a thousand of the
training exceeded: above 1 the model says something of a market that it has hardly seen. Features are free of scale, so that
a market that only moves faster looks the same in them: its volatility has a distance of its own. Drift is the population stability
index (PSI) of each feature over about the newest day against the training's tenths. Features that remember weeks move
from day to day anyway; so a feature counts as drifting only where its PSI is above 0.25, the usual mark of a shift, and
above what any single day of the training showed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from pricecast_core.values import DRIFT_SHARE
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.windows import Floats

LEAST_DAYS = 7
"""Days that a model must have learned from to know what is usual: below, every new day looks new."""
SHIFT = 0.25
"""PSI from which a distribution is usually said to have shifted."""
CLOCK = frozenset(
    {"weekday", "week_sin", "week_cos", "day_sin", "day_cos", "half_day_sin", "half_day_cos", "hour_part"}
)
"""Features that say what time it is: they hold nothing new, and no day has them all."""
_BLOCKS = 24
"""A day of rows is counted in so many blocks; drift is reckoned anew after each."""
_FEWEST_ROWS = 4
"""Rows of a block, at least: a day of few rows fills no ten spans."""
_TENTHS = np.arange(1, 10) / 10
_RARE = 0.999
_FARTHEST = 100.0
_MOST_ROWS = 4_000
_SMALLEST = 1e-6
_SMOOTHING = 0.5
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Novelty:
    """What is new in a row.

    Attributes:
        distance: Distance from the rows learned from: above 1 for one in a thousand of those; None where it isn't known.
        volatility: Local volatility, in units of what one in a thousand of those exceeded; None where it isn't known.
        drift: Share of the features that drift; None until a day of rows has been seen.
        drifting: Those features, the farthest first.
    """

    distance: float | None = None
    volatility: float | None = None
    drift: float | None = None
    drifting: tuple[str, ...] = ()

    @property
    def is_far(self) -> bool:
        """Whether the row is like hardly any of those learned from."""
        return self.is_beyond(1)

    def is_beyond(self, distance: float) -> bool:
        """Returns whether the row is farther than that from those learned from."""
        return self.distance is not None and self.distance > distance

    @property
    def is_wild(self) -> bool:
        """Whether the market moves faster than in hardly any of the rows learned from."""
        return self.volatility is not None and self.volatility > 1

    @property
    def is_drifting(self) -> bool:
        """Whether so many features drift that the market as a whole is said to have moved."""
        return self.drift is not None and self.drift >= DRIFT_SHARE

    @property
    def caution(self) -> str:
        """Why a forecast of the row is to be taken with care; empty if it isn't."""
        told = []
        if self.is_far:
            told.append(
                f"the market is {self.distance:.1f} times as far from the training as one row in a thousand of it"
            )
        if self.is_wild:
            told.append(f"volatility is {self.volatility:.1f} times what one row in a thousand of the training had")
        if self.is_drifting:
            told.append(f"{self.drift:.0%} of the features drift, {', '.join(self.drifting[:_NAMED])} the farthest")
        return "; ".join(told)


UNKNOWN = Novelty()
"""Of a model that has not learned from enough days."""


class Reference(msgspec.Struct, frozen=True):
    """What the rows learned from looked like.

    Attributes:
        names: Features.
        means: Mean of each.
        deviations: Its standard deviation.
        unit: Root mean square of the standardised features that one row in a thousand exceeded.
        volatility: Local volatility that one row in a thousand exceeded.
        edges: The tenths of each feature.
        shares: Share of the rows in each of the spans between them.
        usual: Highest PSI of each that a day of the training had against all of it.
        block_ms: Time after which drift is reckoned anew.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    unit: float
    volatility: float
    edges: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]
    usual: tuple[float, ...]
    block_ms: int

    def distance(self, table: FeatureTable) -> Floats:
        """Returns the distance of each row: above 1 for one row in a thousand of the training; NaN during warm-up."""
        return _Measure(self).distance(table)


def fit(table: FeatureTable, rows: NDArray[np.intp], spec: FeatureSpec) -> Reference | None:
    """Returns what some rows look like; None where they are of too few days to say what is usual.

    Args:
        table: Features.
        rows: The rows learned from.
        spec: The features.
    """
    days = len(rows) // spec.day
    if days < LEAST_DAYS:
        return None
    some = rows[:: -(-len(rows) // _MOST_ROWS)]
    values = table.values[some].astype(np.float64)
    # A feature that none of the rows knows, such as news that have not begun, says nothing.
    used = np.isfinite(values).any(axis=0) & np.array([name not in CLOCK for name in table.names])
    names = tuple(name for name, use in zip(table.names, used, strict=True) if use)
    values = values[:, used]
    means, deviations = np.nanmean(values, axis=0), np.maximum(np.nanstd(values, axis=0), _SMALLEST)
    edges = np.nanquantile(values, _TENTHS, axis=0).T
    far = _root_mean_square(_standardised(values, means, deviations))
    # Of days all rows are counted, as they are live: the PSI of a few rows is large by chance.
    columns = np.flatnonzero(used)
    parts = (table.values[np.ix_(day, columns)].astype(np.float64) for day in np.array_split(rows, days))
    counts = [_counts(part, edges) for part in parts]
    share = _shares(np.add.reduce(counts))
    usual = [_psi(_shares(each), share) for each in counts]
    return Reference(
        names,
        tuple(means.tolist()),
        tuple(deviations.tolist()),
        max(float(np.quantile(far, _RARE)), _SMALLEST),
        float(np.quantile(table.scale[some], _RARE)),
        tuple(tuple(edge) for edge in edges.tolist()),
        tuple(tuple(each) for each in share.tolist()),
        tuple(np.max(usual, axis=0).tolist()),
        max(_FEWEST_ROWS, spec.day // _BLOCKS) * spec.candle_seconds * 1000,
    )


class _Measure:
    """A reference as arrays: live, rows come one by one."""

    def __init__(self, reference: Reference) -> None:
        self._names = reference.names
        self._of: tuple[str, ...] = ()
        self._columns = np.empty(0, np.intp)
        self._means, self._deviations = np.array(reference.means), np.array(reference.deviations)
        self._unit = reference.unit

    def values(self, table: FeatureTable) -> Floats:
        """Returns the features of each row that the reference knows."""
        if table.names != self._of:
            self._of, self._columns = table.names, np.array([table.names.index(name) for name in self._names])
        return table.values[:, self._columns].astype(np.float64)

    def distance(self, table: FeatureTable) -> Floats:
        """Returns the distance of each row; NaN during warm-up."""
        found = _root_mean_square(_standardised(self.values(table), self._means, self._deviations)) / self._unit
        return np.where(np.isfinite(table.scale), found, np.nan)


class Watch:
    """Follows rows as they come: how far each is, and which features drift. A fold: one batch or many give the same.

    Args:
        reference: What the rows learned from looked like; None if too few are known to say so.

    Attributes:
        psi: Population stability index of each feature; empty until a day of rows has been seen.
        latest: What is new in the newest row.
    """

    def __init__(self, reference: Reference | None) -> None:
        self._reference = reference
        self._measure = _Measure(reference) if reference is not None else None
        self._block = -1
        self._open: list[Floats] = []
        self._counts: deque[NDArray[np.int64]] = deque(maxlen=_BLOCKS)
        self.psi: dict[str, float] = {}
        self.latest = UNKNOWN

    def advance(self, table: FeatureTable) -> list[Novelty]:
        """Takes rows in and returns what is new in each."""
        if self._reference is None or self._measure is None or not len(table):
            return [UNKNOWN] * len(table)
        known = np.isfinite(table.scale)
        values, distances = self._measure.values(table), self._measure.distance(table).tolist()
        volatilities = (table.scale / self._reference.volatility).tolist()
        blocks = table.time_ms // self._reference.block_ms
        turns = [0] * (int(blocks[0]) != self._block) + (np.flatnonzero(blocks[1:] != blocks[:-1]) + 1).tolist()
        found: list[Novelty] = []
        for start, stop in zip([0, *turns], [*turns, len(table)], strict=True):
            self._open.append(values[start:stop][known[start:stop]])
            for row in range(start, stop):
                far, wild = (distances[row], volatilities[row]) if known[row] else (None, None)
                self.latest = Novelty(far, wild, self.latest.drift, self.latest.drifting)
                found.append(self.latest)
            if stop < len(table):
                self._close(self._reference)
        self._block = int(blocks[-1])
        return found

    def _close(self, reference: Reference) -> None:
        values = np.concatenate(self._open) if self._open else np.empty((0, 0))
        self._open = []
        if not len(values):
            return
        self._counts.append(_counts(values, np.array(reference.edges)))
        if len(self._counts) < _BLOCKS:
            return
        names = reference.names
        psi = _psi(_shares(np.add.reduce(list(self._counts))), np.array(reference.shares))
        beyond = psi / np.maximum(reference.usual, SHIFT)
        drifting = tuple(names[at] for at in np.argsort(-beyond, kind="stable") if beyond[at] > 1)
        self.psi = dict(zip(names, psi.tolist(), strict=True))
        self.latest = replace(self.latest, drift=len(drifting) / len(names), drifting=drifting)


def _standardised(values: Floats, means: Floats, deviations: Floats) -> Floats:
    off = np.minimum(np.maximum((values - means) / deviations, -_FARTHEST), _FARTHEST)
    return np.where(np.isfinite(off), off, 0.0)


def _root_mean_square(values: Floats) -> Floats:
    total = np.add.accumulate(values**2, axis=1)[:, -1]  # in this order, whatever the number of rows
    return np.asarray(np.sqrt(total / values.shape[1]))


def _counts(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """Returns how many rows lie in each span between the edges, shape (features, spans); unknown ones in the lowest."""
    above = [(values > edge).sum(axis=0) for edge in edges.T]
    none = np.zeros(values.shape[1], np.int64)
    return -np.diff(np.stack([none + len(values), *above, none], axis=1), axis=1)


def _shares(counts: NDArray[np.int64]) -> Floats:
    total = counts.sum(axis=1, keepdims=True) + _SMOOTHING * counts.shape[1]
    return np.asarray((counts + _SMOOTHING) / total)


def _psi(shares: Floats, reference: Floats) -> Floats:
    return np.asarray(((shares - reference) * np.log(shares / reference)).sum(axis=1))
