"""Everything known of one pair while serving: its newest rows, its models, its forecasts that await their outcome.

Pure but for memory: rows in, predictions out. What it holds can all be read again from the stores, so a killed process
loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pricecast_core.messages import Prediction
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.models import ModelVersion
from pricecast_core.values import LEVELS, QUANTILES
from pricecast_price_predictor import baselines, grid, predictions, shadows, target
from pricecast_price_predictor.evaluation import Matrix, columns
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.forecasting import Forecaster
from pricecast_price_predictor.grid import TIME
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.novelty import UNKNOWN
from pricecast_price_predictor.predictions import Forecast, RollingScores
from pricecast_price_predictor.target import horizon_rows

_SPARE_ROWS = 2 * shadows.ROWS


@dataclass(slots=True)
class Horizon:
    """One horizon of a pair.

    Attributes:
        seconds: How far ahead.
        rows: The same in rows.
        levels: Quantiles to forecast.
        version: The model in use; None while there is none.
        forecaster: Makes its forecasts.
        predicted_through_ms: Event time of the newest row that a prediction was made at.
        pending: Predictions whose outcome isn't known yet, by id, the oldest first.
        live: How the predictions have done.
    """

    seconds: int
    rows: int
    levels: tuple[float, ...] = LEVELS
    version: ModelVersion | None = None
    forecaster: Forecaster | None = None
    predicted_through_ms: int = 0
    pending: dict[str, Prediction] = field(default_factory=dict)
    live: RollingScores = field(default_factory=RollingScores)

    @property
    def live_skill(self) -> float | None:
        """How the model in use has done on its newest scores; None while there are few, and without a model."""
        return None if self.version is None else self.live.settled_skill(self.version.version)

    def use(self, version: ModelVersion, price_model: PriceModel) -> None:
        """Takes a model into use."""
        self.version = version
        self.forecaster = Forecaster(price_model, self.levels)


class PairBook:
    """The state of one pair.

    Args:
        settings: What to predict, how far ahead and at which quantiles. Live, a prediction is made only while its
            outcome still lies ahead; in a replay always.
        pair: The pair.
    """

    def __init__(self, settings: PricePredictorSettings, pair: str) -> None:
        self.pair = pair
        self.horizons = {
            seconds: Horizon(seconds, horizon_rows(seconds, settings.candle_seconds), tuple(settings.levels))
            for seconds in settings.horizons_seconds
        }
        self._pipeline = settings.pipeline
        self._step_ms = settings.candle_seconds * 1000
        self._day = grid.day_rows(settings.candle_seconds)
        self._live = settings.live
        self._simulated = settings.simulated
        self._farthest = settings.abstain_distance

    @property
    def rows_kept(self) -> int:
        """How many rows up to the newest are needed to go on."""
        needed = [self._day + 2 * horizon.rows for horizon in self.horizons.values()]
        needed += [one.forecaster.rows_needed() for one in self.horizons.values() if one.forecaster is not None]
        return max(needed) + _SPARE_ROWS

    def history_from_ms(self) -> int | None:
        """Returns the earliest event time needed now, beside the newest `rows_kept` rows; None if there is none.

        Models want the rows since they were trained, to calibrate on; pending predictions the day before they were made.
        """
        wanted = []
        for horizon in self.horizons.values():
            margin = self.rows_kept * self._step_ms
            if horizon.forecaster is not None:
                wanted.append(horizon.forecaster.through_ms - margin)
            if horizon.pending:
                wanted.append(min(one.feature_time_ms for one in horizon.pending.values()) - margin)
            if not self._live:
                wanted.append(horizon.predicted_through_ms - margin)
        return max(0, min(wanted)) if wanted else None

    def update(self, view: FeatureView, now_ms: int) -> list[Prediction]:
        """Scores and forecasts what the view allows.

        Args:
            view: Rows of the pair up to the newest, from `history_from_ms` or `rows_kept` rows back.
            now_ms: The clock.

        Returns:
            Predictions to store: scored ones, and new ones.
        """
        if view.rows.is_empty():
            return []
        rows = _Rows(view)
        made: dict[str, Prediction] = {}
        for horizon in self.horizons.values():
            # Without a model they are the forecast, at all its levels; with one, the three that are scored will do.
            naive = self._naive(horizon, rows, horizon.levels if horizon.forecaster is None else QUANTILES)
            outcomes = _Outcomes(horizon, rows, naive)
            for one in self._forecast(horizon, rows, naive, outcomes, now_ms):
                made[one.id] = one
            made |= {one.id: one for one in outcomes.until(int(rows.time_ms[-1]))}
        return list(made.values())

    def _naive(self, horizon: Horizon, rows: _Rows, levels: Sequence[float]) -> Matrix:
        """Returns the naive quantiles of the rows that are forecast or scored now; NaN for those before."""
        oldest = min((one.feature_time_ms for one in horizon.pending.values()), default=horizon.predicted_through_ms)
        first = int(np.searchsorted(rows.time_ms, min(oldest, horizon.predicted_through_ms)))
        start = max(0, first - self._day - horizon.rows)
        found = np.full((len(rows.time_ms), len(levels)), np.nan)
        found[first:] = baselines.naive_quantiles(rows.log_close[start:], horizon.rows, self._day, levels)[
            first - start :
        ]
        return found

    def _rows_wanted(self, rows: _Rows) -> int:
        makers = [horizon.forecaster for horizon in self.horizons.values() if horizon.forecaster is not None]
        return max((maker.rows_wanted(rows.time_ms) for maker in makers), default=0)

    def _forecast(
        self, horizon: Horizon, rows: _Rows, naive: Matrix, outcomes: _Outcomes, now_ms: int
    ) -> Iterator[Prediction]:
        """Yields new forecasts, and between them what was scored by their time, so that a forecast knows how the model has done.

        Rows come one by one or many at once; either way they give the same.
        """
        if horizon.forecaster is None:
            first = int(np.searchsorted(rows.time_ms, horizon.predicted_through_ms, side="right"))
            quantiles, point_is_naive, novelty = naive[first:], True, [UNKNOWN] * (len(rows.time_ms) - first)
        else:
            spec, last = horizon.forecaster.model.spec, self._rows_wanted(rows)
            table = rows.table(spec, last)
            first, quantiles = horizon.forecaster.advance(table)
            first += len(rows.time_ms) - len(table)
            point_is_naive = not horizon.forecaster.model.use_median
            novelty = horizon.forecaster.novelty
        abstains = np.array([one.is_beyond(self._farthest) for one in novelty], dtype=np.bool_)
        if abstains.any():
            everywhere = self._naive(horizon, rows, horizon.levels)[first:]
            quantiles = np.where(abstains[:, None], everywhere, quantiles)
        for row in range(first, len(rows.time_ms)):
            at = int(rows.time_ms[row])
            yield from outcomes.until(at)
            values = quantiles[row - first]
            over = self._live and at + horizon.seconds * 1000 <= now_ms
            if over or at <= horizon.predicted_through_ms or not rows.observed[row] or not np.isfinite(values).all():
                continue
            forecast = Forecast(
                self.pair,
                horizon.seconds,
                feature_time_ms=at,
                issued_at_ms=max(now_ms, at) if self._live else at,
                last_price=float(rows.close[row]),
                levels=horizon.levels,
                quantiles=values.tolist(),
                live_skill=horizon.live_skill,
                novelty=novelty[row - first],
                abstains=bool(abstains[row - first]),
            )
            prediction = predictions.make(
                self._pipeline,
                forecast,
                horizon.version,
                point_is_naive=point_is_naive or forecast.abstains,
                simulated=self._simulated,
            )
            horizon.pending[prediction.id] = prediction
            yield prediction
        horizon.predicted_through_ms = max(horizon.predicted_through_ms, int(rows.time_ms[-1]))


class _Rows:
    """A view's rows on their grid, as arrays; features are computed where they are asked for, once for each spec."""

    def __init__(self, view: FeatureView) -> None:
        rows = view.regular
        self.time_ms = rows[TIME].to_numpy()
        self.close = rows["close"].to_numpy()
        self.log_close = np.log(self.close)
        self.observed = rows["observed"].to_numpy()
        self.of_market = self.observed & ~grid.outage(rows)
        self._view = view
        self._tables: dict[FeatureSpec, FeatureTable] = {}

    def table(self, spec: FeatureSpec, last: int) -> FeatureTable:
        """Returns the features of the last rows."""
        if spec not in self._tables or len(self._tables[spec]) < min(last, len(self.time_ms)):
            self._tables[spec] = self._view.table(spec, last)
        return self._tables[spec]


class _Outcomes:
    """Scores pending predictions as their time comes: the price is the last close at or before it.

    One whose outcome lies in an outage is not compared with the naive forecast: it counts towards no skill.

    Args:
        horizon: Holds the pending ones, and how those before have done.
        rows: What is known.
        naive: Naive quantiles of each row.
    """

    def __init__(self, horizon: Horizon, rows: _Rows, naive: Matrix) -> None:
        self._horizon = horizon
        self._rows = rows
        self._judged = target.has_outcome(rows.of_market, horizon.rows)
        self._naive = naive if naive.shape[1] == len(QUANTILES) else naive[:, columns(horizon.levels)]

    def until(self, time_ms: int) -> Iterator[Prediction]:
        """Yields the predictions for a time up to this one, scored."""
        pending, rows = self._horizon.pending, self._rows
        while pending and (oldest := next(iter(pending.values()))).target_time_ms <= time_ms:
            del pending[oldest.id]
            at = int(np.searchsorted(rows.time_ms, oldest.target_time_ms, side="right")) - 1
            if at < 0:
                continue  # older than any row that is left
            made_at = int(np.searchsorted(rows.time_ms, oldest.feature_time_ms))
            known = rows.time_ms[made_at] == oldest.feature_time_ms and bool(self._judged[made_at])
            known = known and bool(np.isfinite(self._naive[made_at]).all())
            result = predictions.scored(oldest, float(rows.close[at]), self._naive[made_at].tolist() if known else None)
            self._horizon.live.add(result)
            yield result


def newest_ms(rows: pl.DataFrame) -> int:
    """Returns the event time of the newest row; 0 if there is none."""
    return 0 if rows.is_empty() else int(rows[TIME].max())  # type: ignore[arg-type]


def ready_through_ms(own: pl.DataFrame, companions: Mapping[str, pl.DataFrame], step_ms: int) -> int:
    """Returns the newest row's time for which every companion's row of one candle before is there, too."""
    return min([newest_ms(own), *(newest_ms(rows) + step_ms for rows in companions.values())])
