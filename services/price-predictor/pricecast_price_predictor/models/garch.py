"""`Garch`: GJR-GARCH(1, 1) with Student's t (Glosten, Jagannathan and Runkle, 1993; Bollerslev, 1987).

    variance of the next return = level + sum over past returns r of (alpha + gamma * [r < 0]) * beta^age * r^2

That is the recursion written out, cut off after `WINDOW` rows so that a row's variance depends on nothing else. Returns
from before the data count as average ones. The level is such that the long-run variance is the sample's (variance
targeting: Engle and Mezrich, 1996); the rest is found by maximum likelihood on the newest `MOST_ROWS` rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample
from pricecast_price_predictor.windows import Floats, decayed_sum

if TYPE_CHECKING:
    import optuna

WINDOW = 1_024
"""Rows looked back at: fewer than every live view holds."""
MOST_ROWS = 20_000
_START = (0.05, 0.02, 0.9, 5.0)
_BOUNDS = ((1e-4, 0.5), (0.0, 0.5), (0.3, 0.99), (2.1, 50.0))
_MOST_PERSISTENT = 0.9995
_LEAST_VARIANCE = 1e-18
_EVALUATIONS = 250


class FittedGarch(msgspec.Struct, frozen=True):
    """Its parameters.

    Attributes:
        horizon: Rows ahead.
        variance: Long-run variance of a one-row return.
        alpha: Weight of a squared return.
        gamma: Further weight of a squared loss.
        beta: What is left of it a row later.
        degrees: Degrees of freedom of Student's t.
    """

    horizon: int
    variance: float
    alpha: float
    gamma: float
    beta: float
    degrees: float

    @property
    def persistence(self) -> float:
        """What is left, a row later, of a distance from the long-run variance."""
        return self.alpha + self.gamma / 2 + self.beta

    def next_variance(self, returns: Floats) -> Floats:
        """Returns at each one-row return the variance of the next."""
        weighted = np.where(returns < 0, self.alpha + self.gamma, self.alpha) * returns**2
        average = (self.alpha + self.gamma / 2) * self.variance
        known = decayed_sum(np.concatenate((np.full(WINDOW, average), weighted)), self.beta, WINDOW)[1:]
        return np.asarray(known + self.variance * (1 - self.persistence) / (1 - self.beta))

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the standard deviation over the horizon, the same on both sides of zero."""
        closes = np.concatenate((table.before[-WINDOW - 1 :], table.log_close))
        variance = np.concatenate(([self.variance], self.next_variance(np.diff(closes))))[-len(table) :]
        excess = (1 - self.persistence**self.horizon) / (1 - self.persistence)
        scale = np.sqrt(self.horizon * self.variance + (variance - self.variance) * excess)
        scale = np.where(np.isfinite(table.scale), scale, np.nan)
        return Raw(scale, scale, np.zeros(len(table)))

    def importance(self) -> dict[str, float]:
        """Returns nothing: it looks at no feature."""
        return {}

    def to_bytes(self) -> bytes:
        """Returns the parameters."""
        return msgspec.msgpack.encode(self)


class Garch:
    """The kind."""

    name = "Garch"
    calibrated = True

    def defaults(self) -> Parameters:
        """Returns none."""
        return {}

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns none."""
        return {}

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedGarch:
        """Finds the likeliest parameters."""
        from scipy.optimize import minimize  # noqa: PLC0415 - serving never fits

        rows = sample.learnable()
        closes = sample.table.log_close[: rows[-1] + sample.horizon + 1][-MOST_ROWS - 1 :]
        returns = np.diff(closes)
        variance = max(float(np.mean(returns**2)), _LEAST_VARIANCE)

        def loss(found: Floats) -> float:
            return _loss(FittedGarch(sample.horizon, variance, *found.tolist()), returns)

        how = {"method": "Nelder-Mead", "bounds": _BOUNDS, "options": {"maxfev": _EVALUATIONS}}
        best = minimize(loss, _START, **how)  # type: ignore[no-untyped-call]
        return FittedGarch(sample.horizon, variance, *best.x.tolist())

    def from_bytes(self, data: bytes, threads: int) -> FittedGarch:
        """Reads the parameters."""
        return msgspec.msgpack.decode(data, type=FittedGarch)


def _loss(fitted: FittedGarch, returns: Floats) -> float:
    """Returns the mean negative log-likelihood of each return, given those before it."""
    if fitted.persistence > _MOST_PERSISTENT:
        return math.inf
    variance, degrees = fitted.next_variance(returns)[:-1], fitted.degrees
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(math.pi * (degrees - 2))
    tail = (degrees + 1) / 2 * np.log1p(returns[1:] ** 2 / (variance * (degrees - 2)))
    return float(np.mean(0.5 * np.log(variance) + tail)) - constant
