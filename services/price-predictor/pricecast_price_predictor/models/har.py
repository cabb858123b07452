"""`HarSeasonal`: realised volatility by least squares (Corsi, 2009), with the time of day and of the week.

The log of the coming variation is a linear function of the log of past variation over minutes, hours, days and weeks,
of the variation at the same time on earlier days, and of the clock.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample
from pricecast_price_predictor.models.trees import draw_to_day, factor
from pricecast_price_predictor.windows import Floats

if TYPE_CHECKING:
    import optuna

_VOLATILITY = ("5", "20", "60", "180", "day", "3d", "7d", "14d")
_SEASON = ("season_300", "season_900", "season_3600", "season_week_3600", "season_rise_300", "season_rise_3600")
_HARMONICS = (1, 2, 3)
_RIDGE = 1e-3
_BOUND = 6.0
_CONSTANT = 1e-6
_DAY_MS = 86_400_000


class FittedHar(msgspec.Struct, frozen=True):
    """The regression on standardised inputs.

    Attributes:
        means: Mean of each input.
        deviations: Its standard deviation.
        weights: Its weight.
        intercept: The mean log factor.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the width, the same on both sides of zero."""
        inputs = _inputs(table)
        standardised = np.clip((inputs - np.array([self.means]).T) / np.array([self.deviations]).T, -_BOUND, _BOUND)
        terms = np.vstack((np.full(len(table), self.intercept), np.array([self.weights]).T * standardised))
        log_factor = np.add.accumulate(terms, axis=0)[-1]  # in this order, whatever the number of rows
        scale = draw_to_day(np.exp(log_factor), table)
        return Raw(scale, scale, np.zeros(len(table)))

    def importance(self) -> dict[str, float]:
        """Returns nothing: its inputs say much the same, so single weights say little."""
        return {}

    def to_bytes(self) -> bytes:
        """Returns the numbers."""
        return msgspec.msgpack.encode(self)


class HarSeasonal:
    """The kind."""

    name = "HarSeasonal"
    calibrated = True

    def defaults(self) -> Parameters:
        """Returns none."""
        return {}

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns none."""
        return {}

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedHar:
        """Fits by least squares with a little ridge."""
        rows = sample.learnable()
        inputs = np.ascontiguousarray(_inputs(sample.table)[:, rows].T)
        wanted = np.log(factor(sample)[rows])
        means, deviations = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), _CONSTANT)
        inputs = np.clip((inputs - means) / deviations, -_BOUND, _BOUND)
        intercept = float(wanted.mean())
        weights = np.linalg.solve(
            inputs.T @ inputs + _RIDGE * len(rows) * np.eye(inputs.shape[1]), inputs.T @ (wanted - intercept)
        )
        return FittedHar(tuple(means.tolist()), tuple(deviations.tolist()), tuple(weights.tolist()), intercept)

    def from_bytes(self, data: bytes, threads: int) -> FittedHar:
        """Reads the numbers."""
        return msgspec.msgpack.decode(data, type=FittedHar)


def _inputs(table: FeatureTable) -> Floats:
    """Returns the inputs, a row for each; one that isn't known yet counts as the local volatility."""
    known = table.values[:, _places(table.names)].T.astype(np.float64)
    angle = (table.time_ms % _DAY_MS) * (2 * np.pi / _DAY_MS)
    clock = [turn(number * angle) for number in _HARMONICS for turn in (np.sin, np.cos)]
    return np.vstack((np.where(np.isfinite(known), known, 0.0), *clock))


@functools.cache
def _places(names: tuple[str, ...]) -> list[int]:
    return [names.index(name) for name in (*(f"volatility_{part}" for part in _VOLATILITY), *_SEASON)]
