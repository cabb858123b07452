"""How good forecasts were: pinball loss, coverage, and the two skills. All in log-returns, all out of sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pricecast_price_predictor.baselines import QUANTILES
from pricecast_price_predictor.windows import Floats

Matrix = NDArray[np.float64]


def pinball(actual: Floats, forecast: Matrix, quantiles: Sequence[float] = QUANTILES) -> Matrix:
    """Returns the pinball (quantile) loss of each row and quantile (Koenker and Bassett, 1978)."""
    error = actual[:, None] - forecast
    levels = np.asarray(quantiles)
    return np.maximum(levels * error, (levels - 1) * error)


def skill(loss: float, reference: float) -> float:
    """Returns the share of the reference's loss that is saved: 0 is as good, 1 is perfect, negative is worse."""
    return 1.0 - loss / reference if reference > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures over a set of forecasts; losses are means, in log-return.

    Attributes:
        rows: Forecasts scored.
        distribution_skill: 1 - pinball / naive_pinball.
        point_skill: 1 - mae / naive_mae.
        coverage: Share of outcomes inside the 80% interval.
        naive_coverage: The same of the naive distribution.
        pinball: Mean pinball loss over rows and quantiles.
        naive_pinball: The same of the naive distribution.
        mae: Mean absolute error of the point forecast.
        naive_mae: Mean absolute error of the last close.
        interval_width: Mean width of the interval.
        naive_interval_width: Mean width of the naive interval.
    """

    rows: int
    distribution_skill: float
    point_skill: float
    coverage: float
    naive_coverage: float
    pinball: float
    naive_pinball: float
    mae: float
    naive_mae: float
    interval_width: float
    naive_interval_width: float

    def as_metrics(self, prefix: str = "") -> dict[str, float]:
        """Returns the figures by name, for a registry."""
        return {prefix + name: float(value) for name, value in asdict(self).items()}


def score(actual: Floats, forecast: Matrix, naive: Matrix) -> Scores:
    """Scores forecasts; rows without an outcome or without a naive forecast are left out.

    Args:
        actual: Realised log-returns.
        forecast: The model's quantiles, shape (rows, 3); the middle one is the point forecast.
        naive: The naive quantiles, same shape.
    """
    known = np.isfinite(actual) & np.isfinite(naive).all(axis=1) & np.isfinite(forecast).all(axis=1)
    actual, forecast, naive = actual[known], forecast[known], naive[known]
    if len(actual) == 0:
        return Scores(0, *([0.0] * 10))
    loss, reference = float(pinball(actual, forecast).mean()), float(pinball(actual, naive).mean())
    mae, naive_mae = float(np.abs(actual - forecast[:, 1]).mean()), float(np.abs(actual).mean())
    return Scores(
        rows=len(actual),
        distribution_skill=skill(loss, reference),
        point_skill=skill(mae, naive_mae),
        coverage=_coverage(actual, forecast),
        naive_coverage=_coverage(actual, naive),
        pinball=loss,
        naive_pinball=reference,
        mae=mae,
        naive_mae=naive_mae,
        interval_width=float((forecast[:, -1] - forecast[:, 0]).mean()),
        naive_interval_width=float((naive[:, -1] - naive[:, 0]).mean()),
    )


def reliability(actual: Floats, standardised: Floats, levels: Floats) -> Floats:
    """Returns the share of outcomes at or below each level of the standardised forecast, for a calibration plot."""
    known = np.isfinite(actual) & np.isfinite(standardised)
    shares: Floats = (standardised[known, None] <= levels).mean(axis=0)
    return shares


def _coverage(actual: Floats, forecast: Matrix) -> float:
    return float(((actual >= forecast[:, 0]) & (actual <= forecast[:, -1])).mean())
