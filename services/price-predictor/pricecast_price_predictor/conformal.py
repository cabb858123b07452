"""Keeps the interval's coverage true while the market changes, from outcomes alone.

The model says how wide the distribution is; where its 10% and 90% ends lie, in units of that width, is measured.
Adaptive conformal inference (Gibbs and Candes, 2021; quantile tracking of Angelopoulos et al., 2023): after each
outcome an end moves out a little if it was exceeded and in a little if not, so that in the long run exactly the wanted
share falls outside, whatever the distribution does. The ends move in logarithm: they never change sign or cross.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pricecast_price_predictor.baselines import QUANTILES
from pricecast_price_predictor.windows import Floats

LEARNING_RATE = 0.005
"""Step of an end in log units, per unit of missed probability, for outcomes that don't overlap.

Outcomes of an horizon of h rows overlap: h of them say as much as one, so the step is divided by h.
"""
_SMALLEST_END = 1e-6


def fit_ends(standardised: Floats) -> tuple[float, float]:
    """Returns the two ends as the empirical quantiles of standardised outcomes (lower, upper); NaN are left out."""
    known = standardised[np.isfinite(standardised)]
    lower, upper = np.quantile(known, [QUANTILES[0], QUANTILES[-1]])
    return min(float(lower), -_SMALLEST_END), max(float(upper), _SMALLEST_END)


class Calibrator:
    """The interval's ends, in units of the predicted scale, moved by each outcome.

    Its state is a fold over outcomes in the order of their target times, so that a restarted process that reads the
    same outcomes again has the same state: nothing is to be saved.

    Args:
        ends: Lower (negative) and upper (positive) end to start from.
        rate: Step per outcome; 0 keeps the ends.
    """

    def __init__(self, ends: Sequence[float], rate: float = LEARNING_RATE) -> None:
        lower, upper = ends
        if not lower < 0 < upper:
            raise ValueError(f"ends: {ends} must lie on either side of zero")
        self._log_lower = math.log(-lower)
        self._log_upper = math.log(upper)
        self._rate = rate
        self._tail = QUANTILES[0]

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper end of the interval, in units of the predicted scale."""
        return -math.exp(self._log_lower), math.exp(self._log_upper)

    def observe(self, standardised: float) -> None:
        """Learns from one outcome: (realised return - predicted median) / predicted scale."""
        if not math.isfinite(standardised):
            return
        lower, upper = self.ends
        self._log_lower += self._rate * ((standardised < lower) - self._tail)
        self._log_upper += self._rate * ((standardised > upper) - self._tail)


def trace(calibrator: Calibrator, standardised: Floats, delay: int) -> NDArray[np.float64]:
    """Runs a calibrator over rows in order and returns the ends that stood at each row, shape (rows, 2).

    Args:
        calibrator: Is moved along.
        standardised: Outcome of the forecast made at each row; NaN where it isn't to be learned from.
        delay: Rows until an outcome is known: the horizon. At row `t` only forecasts made at or before `t - delay`
            are known.
    """
    out = np.empty((len(standardised), 2))
    for row in range(len(standardised)):
        if row >= delay:
            calibrator.observe(float(standardised[row - delay]))
        out[row] = calibrator.ends
    return out
