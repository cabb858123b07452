"""The version that served before forecasts on in shadow, and comes back where its successor turns out worse.

Nothing of a shadow's forecasts is stored or published. Both are judged on what then happened, on the very same rows, and
a difference counts only where it is more than chance (`rivals.lead`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pricecast_core.stores.models import ModelVersion
from pricecast_core.values import QUANTILES
from pricecast_price_predictor import grid, target
from pricecast_price_predictor.evaluation import columns, pinball, skill
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.forecasting import Forecaster
from pricecast_price_predictor.grid import TIME
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.predictions import ROLLING_WINDOW, RollingScores
from pricecast_price_predictor.rivals import lead

ROWS = 20
"""New rows that a shadow waits for: many at once cost little more than one."""


@dataclass(slots=True)
class Shadow:
    """A version that doesn't serve.

    Attributes:
        version: The version.
        forecaster: Makes its forecasts.
        losses: Pinball loss of its newest forecasts whose time has come, by the event time of their row.
    """

    version: ModelVersion
    forecaster: Forecaster
    losses: dict[int, float] = field(default_factory=dict)
    _awaited: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def after(cls, version: ModelVersion, price_model: PriceModel, time_ms: int) -> Shadow:
        """Returns a shadow that forecasts the rows after a time."""
        forecaster = Forecaster(price_model, QUANTILES)
        forecaster.skip_to(time_ms)
        return cls(version, forecaster)

    def advance(self, view: FeatureView) -> bool:
        """Forecasts and scores what the view allows; returns whether anything was scored."""
        rows = view.regular
        time_ms = rows[TIME].to_numpy()
        new = len(time_ms) - int(np.searchsorted(time_ms, self.forecaster.through_ms, side="right"))
        if new < ROWS:
            return False
        table = view.table(self.forecaster.model.spec, new)
        first, quantiles = self.forecaster.advance(table)
        quantiles = quantiles[:, columns(self.forecaster.levels)]
        for at, values in zip(table.time_ms[first:].tolist(), quantiles, strict=True):
            if np.isfinite(values).all():
                self._awaited[at] = values.tolist()
        return self._score(time_ms, np.log(rows["close"].to_numpy()), rows["observed"].to_numpy() & ~grid.outage(rows))

    def _score(self, time_ms: np.ndarray, log_close: np.ndarray, of_market: np.ndarray) -> bool:
        horizon = self.forecaster.model.horizon_rows
        actual = target.future_return(log_close, horizon)
        actual = np.where(target.has_outcome(of_market, horizon), actual, np.nan)
        known_ms = int(time_ms[-1]) - horizon * self.forecaster.model.spec.candle_seconds * 1000
        over = [at for at in self._awaited if at <= known_ms]
        for at in over:
            values = np.array([self._awaited.pop(at)])
            row = int(np.searchsorted(time_ms, at))
            if row < len(time_ms) and time_ms[row] == at and np.isfinite(actual[row]):
                self.losses[at] = float(pinball(actual[row : row + 1], values).mean())
        for at in list(self.losses)[:-ROLLING_WINDOW]:
            del self.losses[at]
        return bool(over)


def better(live: RollingScores, shadow: Shadow, least: int, margin: float) -> str | None:
    """Says in words why a shadow is to serve instead of the version that does; None where it is not to.

    Args:
        live: Scored predictions of the version that serves.
        shadow: The shadow.
        least: Fewest rows that both have forecast.
        margin: By how much of skill the shadow must be ahead.
    """
    both = [one for one in live.scored if one.feature_time_ms in shadow.losses and one.naive_pinball_loss is not None]
    if len(both) < least:
        return None
    loss = np.array([one.pinball_loss for one in both])
    naive = np.array([one.naive_pinball_loss for one in both])
    other = np.array([shadow.losses[one.feature_time_ms] for one in both])
    found = lead(loss, other, naive, np.array([one.feature_time_ms for one in both]))
    if found.verdict != "behind" or -found.skill < margin:
        return None
    return (
        f"serves again: over {len(both)} outcomes its skill was {skill(other.sum(), naive.sum()):+.2%}, that of version "
        f"{live.model_version} {skill(loss.sum(), naive.sum()):+.2%} (95% {-found.high * 100:+.2f} to "
        f"{-found.low * 100:+.2f} points ahead)"
    )
