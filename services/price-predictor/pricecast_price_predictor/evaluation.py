"""How good forecasts were: pinball loss, coverage, and the two skills. All in log-returns, all out of sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from pricecast_core.values import QUANTILES
from pricecast_price_predictor.windows import Floats

Matrix = NDArray[np.float64]
_FIFTHS = 5


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
        crps: Continuous ranked probability score, from the levels that there are: twice the pinball loss, each level
            weighted by the probability that lies nearest to it.
        naive_crps: The same of the naive distribution.
        below: Share of outcomes at or below each level: reliability.
        coverage_by_volatility: Coverage in each fifth of the rows, from quiet to busy.
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
    crps: float = 0.0
    naive_crps: float = 0.0
    below: Mapping[str, float] = field(default_factory=dict)
    coverage_by_volatility: tuple[float, ...] = ()

    def as_metrics(self, prefix: str = "") -> dict[str, float]:
        """Returns the figures by name, for a registry."""
        plain = {name: value for name, value in asdict(self).items() if isinstance(value, int | float)}
        plain |= {f"below_{level}": share for level, share in self.below.items()}
        plain |= {f"coverage_fifth_{number}": share for number, share in enumerate(self.coverage_by_volatility, 1)}
        return {prefix + name: float(value) for name, value in plain.items()}


def score(
    actual: Floats,
    forecast: Matrix,
    naive: Matrix,
    levels: Sequence[float] = QUANTILES,
    volatility: Floats | None = None,
) -> Scores:
    """Scores forecasts; rows without an outcome or without a naive forecast are left out.

    Args:
        actual: Realised log-returns.
        forecast: The model's quantiles, shape (rows, levels).
        naive: The naive quantiles, same shape.
        levels: The levels; `QUANTILES` are among them. Losses and skills are of those three, whatever others there are.
        volatility: What is known of the volatility at each row, for coverage in each fifth of it.
    """
    known = np.isfinite(actual) & np.isfinite(naive).all(axis=1) & np.isfinite(forecast).all(axis=1)
    actual, forecast, naive = actual[known], forecast[known], naive[known]
    if len(actual) == 0:
        return Scores(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    whole, whole_naive = pinball(actual, forecast, levels).mean(axis=0), pinball(actual, naive, levels).mean(axis=0)
    three = columns(levels)
    below = {
        f"{level:g}": float(share)
        for level, share in zip(levels, (actual[:, None] <= forecast).mean(axis=0), strict=True)
    }
    forecast, naive = forecast[:, three], naive[:, three]
    loss, reference = float(pinball(actual, forecast).mean()), float(pinball(actual, naive).mean())
    mae, naive_mae = float(np.abs(actual - forecast[:, 1]).mean()), float(np.abs(actual).mean())
    inside = is_inside(actual, forecast)
    fifths = [] if volatility is None else np.array_split(np.argsort(volatility[known], kind="stable"), _FIFTHS)
    return Scores(
        rows=len(actual),
        distribution_skill=skill(loss, reference),
        point_skill=skill(mae, naive_mae),
        coverage=float(inside.mean()),
        naive_coverage=float(is_inside(actual, naive).mean()),
        pinball=loss,
        naive_pinball=reference,
        mae=mae,
        naive_mae=naive_mae,
        interval_width=float((forecast[:, -1] - forecast[:, 0]).mean()),
        naive_interval_width=float((naive[:, -1] - naive[:, 0]).mean()),
        crps=float(2 * (_spans(levels) * whole).sum()),
        naive_crps=float(2 * (_spans(levels) * whole_naive).sum()),
        below=below,
        coverage_by_volatility=tuple(float(inside[rows].mean()) for rows in fifths if len(rows)),
    )


def columns(levels: Sequence[float]) -> list[int]:
    """Returns where the interval's ends and the median are among some levels."""
    return [list(levels).index(level) for level in QUANTILES]


def is_inside(actual: Floats, forecast: Matrix) -> NDArray[np.bool_]:
    """Returns which outcomes lie inside the interval between the first quantile and the last."""
    return np.asarray((actual >= forecast[:, 0]) & (actual <= forecast[:, -1]))


def _spans(levels: Sequence[float]) -> Floats:
    """Returns the probability that lies nearest to each level."""
    middles = (np.asarray(levels[1:]) + np.asarray(levels[:-1])) / 2
    return np.diff(np.concatenate(([0.0], middles, [1.0])))


def reliability(actual: Floats, standardised: Floats, levels: Floats) -> Floats:
    """Returns the share of outcomes at or below each level of the standardised forecast, for a calibration plot."""
    known = np.isfinite(actual) & np.isfinite(standardised)
    shares: Floats = (standardised[known, None] <= levels).mean(axis=0)
    return shares
