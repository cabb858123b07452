"""`Naive`: last close, with the distribution of yesterday's returns. What every other kind has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pricecast_price_predictor import baselines
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample

if TYPE_CHECKING:
    import optuna


class FittedNaive(msgspec.Struct, frozen=True):
    """Nothing is learned: only how far ahead it looks and how many rows a day has."""

    horizon: int
    day: int

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the rolling quantiles around their middle."""
        needed = self.horizon + self.day
        before = table.before[-needed:]
        closes = np.concatenate((before, table.log_close))
        lower, median, upper = baselines.naive_quantiles(closes, self.horizon, self.day)[len(before) :].T
        return Raw(median - lower, upper - median, median)

    def importance(self) -> dict[str, float]:
        """Returns nothing: it looks at no feature."""
        return {}

    def to_bytes(self) -> bytes:
        """Returns its two numbers."""
        return msgspec.msgpack.encode(self)


class Naive:
    """The kind."""

    name = "Naive"
    calibrated = False

    def defaults(self) -> Parameters:
        """Returns none."""
        return {}

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns none."""
        return {}

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedNaive:
        """Learns nothing."""
        return FittedNaive(sample.horizon, sample.spec.day)

    def from_bytes(self, data: bytes, threads: int) -> FittedNaive:
        """Reads the two numbers."""
        return msgspec.msgpack.decode(data, type=FittedNaive)
