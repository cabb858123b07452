"""Keeps the coverage of every level true while the market changes, in quiet and in busy times, from outcomes alone.

The model says how wide the distribution is; where its levels lie, in units of that width, is measured. Adaptive conformal
inference (Gibbs and Candes, 2021; quantile tracking of Angelopoulos et al., 2023): after each outcome the end of a level
moves out a little if it was exceeded and in a little if not, so that in the long run exactly the wanted share falls
outside, whatever the distribution does.

An end is the sum of one part for all rows and of parts for groups of rows: five of volatility, from quiet to busy against
the week's, three of the time of day, each fading into the next, and one of rows that are far from those learned from, whose
intervals widen by what outcomes of such rows ask for. An outcome moves the parts of the groups that its
forecast was in, so that coverage comes true within each of them (multivalid conformal prediction: Bastani et al., 2022;
for steps on the pinball loss, Angelopoulos, Jordan and Tibshirani, 2025). The parts are logarithms: an end never changes
its side, and the ends of a row are put in order: levels never cross.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from pricecast_core.values import QUANTILES
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.windows import Floats

Matrix = NDArray[np.float64]

GRID = (0.01, 0.025, *(round(0.05 * step, 2) for step in range(1, 20)), 0.975, 0.99)
"""Levels whose ends a model knows; those between are interpolated."""
LEARNING_RATE = 0.005
"""Step of an end in log units, per unit of missed probability, for outcomes of five minutes that don't overlap.

It grows with the root of the horizon, for there are fewer outcomes in a day. Outcomes of an horizon of h rows overlap: h of
them say as much as one, so the step of each is divided by h.
"""
GROUP_RATE = 0.01
"""The same of a group's part, at every horizon: a group has its outcomes in stretches."""
_BASE_SECONDS = 300
_VOLATILITY_KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)
_DAY_MS = 86_400_000
_THIRDS = 3
_GROUPS = len(_VOLATILITY_KNOTS) + _THIRDS + 1
_PACE = np.array([*[1.0] * (_GROUPS - 1), 5.0])  # rows far from the training are few: their part moves faster
_SMALLEST_END = 1e-6


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides which groups each row belongs to.

    Attributes:
        state: The state of the volatility.
        time_ms: Event time.
        distance: Distance from the rows learned from, in units of one row in a thousand of them.
    """

    state: Floats
    time_ms: NDArray[np.int64]
    distance: Floats


def state(table: FeatureTable) -> Floats:
    """Returns the state of the volatility at each row: the log of the local one against that of the last week."""
    week = table.values[:, table.names.index("volatility_7d")].astype(np.float64)
    return np.where(np.isfinite(week), -week, 0.0)


class Ends(msgspec.Struct, frozen=True):
    """Ends of the levels in units of the predicted scale, before live outcomes move them.

    Attributes:
        values: Of each level of `GRID`, for all rows.
        knots: Values of the volatility's state at which its five groups are centred; none where there are no groups.
        parts: What each group adds to the log of each end.
    """

    values: tuple[float, ...]
    knots: tuple[float, ...] = ()
    parts: tuple[tuple[float, ...], ...] = ()


NORMAL = Ends(tuple(NormalDist().inv_cdf(level) / NormalDist().inv_cdf(QUANTILES[-1]) for level in GRID))
"""Ends of a normal distribution whose 80% interval is one unit wide on each side."""


def fit_ends(standardised: Floats) -> Ends:
    """Returns the empirical quantiles of standardised outcomes, the same for all groups; NaN are left out."""
    known = standardised[np.isfinite(standardised)]
    return Ends(tuple(np.quantile(known, GRID).tolist()))


def with_groups(ends: Ends, state: Floats) -> Ends:
    """Returns ends whose groups are centred where the state of the volatility was, and move nothing yet."""
    return Ends(ends.values, tuple(np.quantile(state, _VOLATILITY_KNOTS).tolist()))


def fit_groups(ends: Ends, standardised: Floats, situation: Situation, horizon: int) -> Ends:
    """Returns ends with the parts of the groups, as outcomes moved them.

    Args:
        ends: Ends for all rows.
        standardised: Outcomes in order; NaN are left out.
        situation: Of the row of each.
        horizon: Horizon in rows.
    """
    ends = with_groups(ends, situation.state[np.isfinite(standardised)])
    calibrator = Calibrator(ends, GRID, 0.0, GROUP_RATE / horizon)
    for outcome, groups in zip(standardised, calibrator.groups(situation), strict=True):
        calibrator.observe(float(outcome), groups)
    return Ends(ends.values, ends.knots, tuple(tuple(part) for part in calibrator.parts.tolist()))


def learning_rate(horizon: int, candle_seconds: int) -> float:
    """Returns the step of the part for all rows, for an horizon in rows."""
    return LEARNING_RATE * math.sqrt(horizon * candle_seconds / _BASE_SECONDS) / horizon


class Calibrator:
    """The ends of some levels, in units of the predicted scale, moved by each outcome.

    Its state is a fold over outcomes in the order of their target times, so that a restarted process that reads the
    same outcomes again has the same state: nothing is to be saved.

    Args:
        ends: Where to start from.
        levels: Which levels, ascending.
        rate: Step per outcome of the part for all rows; 0 keeps it.
        group_rate: Step per outcome of the groups' parts.
    """

    def __init__(
        self, ends: Ends, levels: Sequence[float], rate: float = LEARNING_RATE, group_rate: float = 0.0
    ) -> None:
        wanted = np.asarray(levels, dtype=np.float64)
        self._side = np.sign(np.round(wanted - 0.5, 9))
        self._tail = np.minimum(wanted, 1 - wanted)
        sizes = np.maximum(self._side * np.interp(wanted, GRID, ends.values), _SMALLEST_END)
        self._common = np.log(sizes)
        self._knots = np.asarray(ends.knots)
        parts = ends.parts or ((0.0,) * len(GRID),) * (_GROUPS if ends.knots else 0)
        self.parts = np.array([np.interp(wanted, GRID, part) for part in parts]).reshape(-1, len(wanted))
        self._rate, self._group_rate = rate, group_rate

    def groups(self, situation: Situation) -> Matrix:
        """Returns how far each row belongs to each group, shape (rows, groups)."""
        if not len(self._knots):
            return np.zeros((len(situation.state), 0))
        volatility = [np.interp(situation.state, self._knots, row) for row in np.eye(len(self._knots))]
        hour = situation.time_ms % _DAY_MS * (_THIRDS / _DAY_MS)
        away = [np.abs(hour - number - 0.5) for number in range(_THIRDS)]
        thirds = [np.maximum(0.0, 1 - np.minimum(far, _THIRDS - far)) for far in away]
        far_off = np.clip(np.nan_to_num(situation.distance) - 1, 0.0, 1.0)
        return np.column_stack((*volatility, *thirds, far_off))

    def ends(self, groups: Floats) -> Floats:
        """Returns the end of each level for a row: below zero, zero, or above it by the level's side, in order."""
        return np.sort(self._signed(groups))

    def observe(self, standardised: float, groups: Floats) -> None:
        """Learns from one outcome.

        Args:
            standardised: (realised return - predicted median) / predicted scale.
            groups: The groups that the row of the forecast was in.
        """
        if not math.isfinite(standardised):
            return
        exceeded = self._side * standardised > self._side * self._signed(groups)
        step = np.abs(self._side) * (exceeded - self._tail)
        self._common = self._common + self._rate * step
        self.parts = self.parts + (self._group_rate * _PACE[: len(groups)] * groups)[:, None] * step

    def _signed(self, groups: Floats) -> Floats:
        total = self._common + (groups[:, None] * self.parts).sum(axis=0)
        return np.asarray(self._side * np.exp(total))


def trace(calibrator: Calibrator, standardised: Floats, groups: Matrix, delay: int) -> Matrix:
    """Runs a calibrator over rows in order and returns the ends that stood at each row, shape (rows, levels).

    Args:
        calibrator: Is moved along.
        standardised: Outcome of the forecast made at each row; NaN where it isn't to be learned from.
        groups: The groups of each row.
        delay: Rows until an outcome is known: the horizon. At row `t` only forecasts made at or before `t - delay`
            are known.
    """
    out = []
    for row in range(len(standardised)):
        if row >= delay:
            calibrator.observe(float(standardised[row - delay]), groups[row - delay])
        out.append(calibrator.ends(groups[row]))
    return np.array(out).reshape(len(standardised), -1)
