"""`Ewma`: an exponentially weighted volatility, as in RiskMetrics; the half-life that fitted best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pricecast_price_predictor.features import EWMA_HALF_LIVES, FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample
from pricecast_price_predictor.models.trees import factor

if TYPE_CHECKING:
    import optuna


class FittedEwma(msgspec.Struct, frozen=True):
    """Which average, and what it is multiplied by.

    Attributes:
        half_life: Half-life in rows.
        log_factor: Log of the factor.
    """

    half_life: int
    log_factor: float

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the width, the same on both sides of zero."""
        column = table.values[:, table.names.index(f"ewma_{self.half_life}")].astype(np.float64)
        scale = table.scale * np.exp(np.where(np.isfinite(column), column, 0.0) + self.log_factor)
        return Raw(scale, scale, np.zeros(len(table)))

    def importance(self) -> dict[str, float]:
        """Returns nothing: it looks at one number."""
        return {}

    def to_bytes(self) -> bytes:
        """Returns the two numbers."""
        return msgspec.msgpack.encode(self)


class Ewma:
    """The kind."""

    name = "Ewma"
    calibrated = True

    def defaults(self) -> Parameters:
        """Returns none."""
        return {}

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns none."""
        return {}

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedEwma:
        """Takes the half-life whose log is nearest to the variation that came."""
        rows, table = sample.learnable(), sample.table
        wanted = np.log(factor(sample)[rows])
        best: tuple[float, FittedEwma] | None = None
        for half_life in EWMA_HALF_LIVES:
            column = table.values[rows, table.names.index(f"ewma_{half_life}")].astype(np.float64)
            error = wanted - np.where(np.isfinite(column), column, 0.0)
            found = FittedEwma(half_life, float(error.mean()))
            if best is None or float(error.var()) < best[0]:
                best = (float(error.var()), found)
        assert best is not None
        return best[1]

    def from_bytes(self, data: bytes, threads: int) -> FittedEwma:
        """Reads the two numbers."""
        return msgspec.msgpack.decode(data, type=FittedEwma)
