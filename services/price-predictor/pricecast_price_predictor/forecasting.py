"""Forecasts row after row, as they become known. A pure fold: the same rows give the same forecasts, in one batch or many.

So a restarted process reads the rows since the model was trained and stands where the one before it stood; nothing
but the rows has to be saved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricecast_price_predictor import target
from pricecast_price_predictor.evaluation import Matrix
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.model import PriceModel


class Forecaster:
    """Forecasts of one model over rows that it wasn't trained on.

    Args:
        price_model: The model.
    """

    def __init__(self, price_model: PriceModel) -> None:
        self.model = price_model
        self._calibrator = price_model.calibrator()
        self._through_ms = price_model.trained_through_ms

    @property
    def through_ms(self) -> int:
        """Event time of the newest row forecast; before the first, of the newest row trained on."""
        return self._through_ms

    def rows_needed(self) -> int:
        """Returns how many rows up to a new one a table must have: the features', and the outcomes' that end there."""
        return self.model.spec.lookback_rows + self.model.horizon_rows + 1

    def rows_wanted(self, time_ms: NDArray[np.int64]) -> int:
        """Returns how many of the last rows `advance` looks at: the new ones and those whose outcome ends there."""
        first = int(np.searchsorted(time_ms, self._through_ms, side="right"))
        return len(time_ms) - max(0, first - self.model.horizon_rows)

    def advance(self, table: FeatureTable) -> tuple[int, Matrix]:
        """Forecasts the rows of the table that are newer than those before.

        Outcomes are learned from on the way: at each row, that of the forecast made one horizon earlier, unless the
        model was trained on it.

        Args:
            table: Features of at least the `rows_wanted`, made from `rows_needed` before the first new one.

        Returns:
            Index of the first new row, and quantiles of the log-return of it and those that follow, shape (rows, 3);
            NaN while the features aren't known.
        """
        horizon = self.model.horizon_rows
        first = int(np.searchsorted(table.time_ms, self._through_ms, side="right"))
        if first == len(table):
            return first, np.empty((0, 3))
        start = max(0, first - horizon)
        part = table.rows(start, len(table))
        raw = self.model.predict(part)
        actual = target.future_return(part.log_close, horizon)
        known = target.has_outcome(part.observed, horizon) & (part.time_ms > self.model.trained_through_ms)
        standardised = raw.standardise(np.where(known, actual, np.nan))
        ends = np.empty((len(table) - first, 2))
        for row in range(first - start, len(part)):
            if row >= horizon:
                self._calibrator.observe(float(standardised[row - horizon]))
            ends[row - (first - start)] = self._calibrator.ends
        self._through_ms = int(table.time_ms[-1])
        return first, raw.quantiles(np.concatenate((np.ones((first - start, 2)), ends)))[first - start :]
