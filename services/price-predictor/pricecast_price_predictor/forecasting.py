"""Forecasts row after row, as they become known. A pure fold: the same rows give the same forecasts, in one batch or many.

So a restarted process reads the rows since the model was trained and stands where the one before it stood; nothing
but the rows has to be saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricecast_core.values import LEVELS
from pricecast_price_predictor import conformal, target
from pricecast_price_predictor.evaluation import Matrix
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.models.base import Raw
from pricecast_price_predictor.novelty import Novelty, Watch
from pricecast_price_predictor.windows import Floats


@dataclass(frozen=True, slots=True)
class _Made:
    """Rows that were forecast, as far as their outcomes will need them."""

    time_ms: NDArray[np.int64]
    log_close: Floats
    observed: NDArray[np.bool_]
    groups: Matrix
    raw: Raw

    def __len__(self) -> int:
        return len(self.time_ms)

    def after(self, earlier: _Made | None, step_ms: int) -> _Made:
        """Returns the earlier rows and these; these alone where a long hole lies between."""
        if earlier is None or int(self.time_ms[0] - earlier.time_ms[-1]) != step_ms:
            return self
        return _Made(
            np.concatenate((earlier.time_ms, self.time_ms)),
            np.concatenate((earlier.log_close, self.log_close)),
            np.concatenate((earlier.observed, self.observed)),
            np.concatenate((earlier.groups, self.groups)),
            Raw(
                np.concatenate((earlier.raw.lower, self.raw.lower)),
                np.concatenate((earlier.raw.upper, self.raw.upper)),
                np.concatenate((earlier.raw.median, self.raw.median)),
            ),
        )

    def last(self, rows: int) -> _Made:
        """Returns the last rows."""
        part = slice(-rows, None)
        raw = Raw(self.raw.lower[part], self.raw.upper[part], self.raw.median[part])
        return _Made(self.time_ms[part], self.log_close[part], self.observed[part], self.groups[part], raw)


class Forecaster:
    """Forecasts of one model over rows that it wasn't trained on.

    Args:
        price_model: The model.
        levels: Levels of the quantiles.

    Attributes:
        novelty: What was new in each of the rows that `advance` forecast last.
    """

    def __init__(self, price_model: PriceModel, levels: Sequence[float] = LEVELS) -> None:
        self.model = price_model
        self.levels = tuple(levels)
        self._calibrator = price_model.calibrator(self.levels)
        self._through_ms = price_model.trained_through_ms
        self._watch = Watch(price_model.reference)
        self.novelty: list[Novelty] = []
        self._awaited: _Made | None = None  # the last horizon's rows: their outcomes are yet to come

    @property
    def psi(self) -> Mapping[str, float]:
        """Population stability index of each feature over the newest day; empty before there is one."""
        return self._watch.psi

    @property
    def latest(self) -> Novelty:
        """What was new in the newest row."""
        return self._watch.latest

    @property
    def through_ms(self) -> int:
        """Event time of the newest row forecast; before the first, of the newest row trained on."""
        return self._through_ms

    def skip_to(self, time_ms: int) -> None:
        """Leaves out the rows up to a time."""
        self._through_ms = max(self._through_ms, time_ms)

    def rows_needed(self) -> int:
        """Returns how many rows up to a new one its features need."""
        return self.model.spec.lookback_rows + 1

    def rows_wanted(self, time_ms: NDArray[np.int64]) -> int:
        """Returns how many of the last rows `advance` looks at: the new ones; one at least."""
        return max(1, len(time_ms) - int(np.searchsorted(time_ms, self._through_ms, side="right")))

    def advance(self, table: FeatureTable) -> tuple[int, Matrix]:
        """Forecasts the rows of the table that are newer than those before.

        Outcomes are learned from on the way: at each row, that of the forecast made one horizon earlier. The model
        knows those of the rows that it was trained on.

        Args:
            table: Features of at least the `rows_wanted`, made from `rows_needed` before the first new one.

        Returns:
            Index of the first new row, and quantiles of the log-return of it and those that follow, shape (rows, levels);
            NaN while the features aren't known.
        """
        horizon = self.model.horizon_rows
        first = int(np.searchsorted(table.time_ms, self._through_ms, side="right"))
        if first == len(table):
            self.novelty = []
            return first, np.empty((0, len(self.levels)))
        new = table.rows(first, len(table))
        raw = self.model.predict(new)
        self.novelty = self._watch.advance(new)
        # As `PriceModel.situation` has it, of distances that the watch has reckoned: unknown ones are in no group.
        distance = np.array([one.distance or 0.0 for one in self.novelty])
        groups = self._calibrator.groups(conformal.Situation(conformal.state(new), new.time_ms, distance))
        made = _Made(new.time_ms, new.log_close, new.observed, groups, raw)
        seen = made.after(self._awaited, self.model.spec.candle_seconds * 1000)
        known = target.has_outcome(seen.observed, horizon)
        actual = np.where(known, target.future_return(seen.log_close, horizon), np.nan)
        standardised = seen.raw.standardise(actual)
        ends = np.empty((len(new), len(self.levels)))
        for row in range(len(new)):
            outcome_of = len(seen) - len(new) + row - horizon
            if outcome_of >= 0:
                self._calibrator.observe(float(standardised[outcome_of]), seen.groups[outcome_of])
            ends[row] = self._calibrator.ends(groups[row])
        self._awaited = seen.last(horizon)
        self._through_ms = int(table.time_ms[-1])
        return first, raw.quantiles(ends, self.levels)
