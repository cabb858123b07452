"""Versions that don't serve forecast in shadow, and take over where they turn out better.

They are the one that served before, and the newest trained one that was not promoted: the challenger.

Nothing of a shadow's forecasts is stored or published. Both are judged on what then happened, on the very same rows, and
a difference counts only where its 95% interval leaves out zero (`rivals.lead`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.models import ModelVersion
from pricecast_core.values import QUANTILES
from pricecast_price_predictor import grid, target
from pricecast_price_predictor.evaluation import columns, pinball, skill
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.forecasting import Forecaster
from pricecast_price_predictor.grid import TIME
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.predictions import ROLLING_WINDOW, RollingScores
from pricecast_price_predictor.rivals import Lead, lead

ROWS = 20
"""New rows that a shadow waits for, the first time up to twice as many: many at once cost little more than one."""


@dataclass(slots=True)
class Shadow:
    """A version that doesn't serve.

    Attributes:
        version: The version.
        forecaster: Makes its forecasts.
        farthest: Distance from its training beyond which it abstains: what it would forecast there is not judged.
        losses: Pinball loss of its newest forecasts whose time has come, by the event time of their row.
        compared: Outcomes that it was last compared on with the version that serves now.
    """

    version: ModelVersion
    forecaster: Forecaster
    farthest: float
    losses: dict[int, float] = field(default_factory=dict)
    compared: int = 0
    _awaited: dict[int, list[float]] = field(default_factory=dict)
    _waits_for: int = 0

    def __post_init__(self) -> None:
        # Not all shadows at the same candle: forecasts that are served would wait for them.
        self._waits_for = ROWS + zlib.crc32(f"{self.version.model_name} {self.version.version}".encode()) % ROWS

    @classmethod
    def after(cls, version: ModelVersion, price_model: PriceModel, farthest: float, time_ms: int) -> Shadow:
        """Returns a shadow that forecasts the rows after a time."""
        forecaster = Forecaster(price_model, QUANTILES)
        forecaster.skip_to(time_ms)
        return cls(version, forecaster, farthest)

    def advance(self, view: FeatureView) -> bool:
        """Forecasts and scores what the view allows; returns whether anything was scored."""
        rows = view.regular
        time_ms = rows[TIME].to_numpy()
        new = len(time_ms) - int(np.searchsorted(time_ms, self.forecaster.through_ms, side="right"))
        if new < self._waits_for:
            return False
        self._waits_for = ROWS
        table = view.table(self.forecaster.model.spec, new)
        first, quantiles = self.forecaster.advance(table)
        quantiles = quantiles[:, columns(self.forecaster.levels)]
        for at, values, new_in in zip(table.time_ms[first:].tolist(), quantiles, self.forecaster.novelty, strict=True):
            if np.isfinite(values).all() and not new_in.is_beyond(self.farthest):
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """The version that serves and a shadow, on the very same outcomes.

    Attributes:
        rows: Outcomes that both have forecast.
        serving: Version that serves.
        skill: Its skill.
        shadow_skill: That of the shadow.
        ahead: How far the shadow is ahead.
    """

    rows: int
    serving: int
    skill: float
    shadow_skill: float
    ahead: Lead

    def __str__(self) -> str:
        return (
            f"over {self.rows} outcomes its skill was {self.shadow_skill:+.2%}, that of version {self.serving} "
            f"{self.skill:+.2%} (95% {self.ahead.low * 100:+.2f} to {self.ahead.high * 100:+.2f} points ahead)"
        )


def compare(live: RollingScores, shadow: Shadow) -> Comparison | None:
    """Compares the version that serves with a shadow; None while no outcome is known of both.

    Args:
        live: Scored predictions of the version that serves.
        shadow: The shadow.
    """
    both = [one for one in live.scored if one.feature_time_ms in shadow.losses and one.naive_pinball_loss is not None]
    if not both:
        return None
    loss = np.array([one.pinball_loss for one in both])
    naive = np.array([one.naive_pinball_loss for one in both])
    other = np.array([shadow.losses[one.feature_time_ms] for one in both])
    ahead = lead(other, loss, naive, np.array([one.feature_time_ms for one in both]))
    return Comparison(
        len(both), live.model_version, skill(loss.sum(), naive.sum()), skill(other.sum(), naive.sum()), ahead
    )


def why_back(found: Comparison, settings: PricePredictorSettings) -> str | None:
    """Says why the version that served before is to serve again; None where it is not to."""
    enough = found.rows >= settings.rollback_min_scored and found.ahead.skill >= settings.rollback_margin
    return f"serves again: {found}" if enough and found.ahead.verdict == "ahead" else None


def why_promoted(found: Comparison, age_days: float, settings: PricePredictorSettings) -> str | None:
    """Says why a challenger is to serve; None where it is not to.

    One that is worse than naive never is. One that is ahead by the margin, with an interval above zero, is; where what the serving
    version knows is older than the maximum age, it is enough not to be behind by the margin.

    Args:
        found: How both did.
        age_days: Age of what the version that serves knows.
        settings: What decides.
    """
    if found.rows < settings.promotion_min_scored or found.shadow_skill <= 0:
        return None
    if found.ahead.verdict == "ahead" and found.ahead.skill >= settings.promotion_margin:
        return f"better in shadow: {found}"
    if age_days > settings.promotion_maximum_age_days and found.ahead.skill >= -settings.promotion_margin:
        return f"no worse in shadow, and version {found.serving} is {age_days:.0f} days old: {found}"
    return None
