"""What the pairs of a pipeline have in common: trees over the rows of all of them, of each moment only what was known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from pricecast_core.settings.price_predictor import LEAST_LEARNABLE
from pricecast_price_predictor import target
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute
from pricecast_price_predictor.models.trees import RATIO_BOUNDS, TreeParameters, settings
from pricecast_price_predictor.windows import Floats

PARAMETERS = TreeParameters(trees=400, depth=4)
MOST_ROWS = 250_000
"""Rows that the trees learn from at most, spread evenly over the pairs and over time."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class _Part:
    rows: NDArray[np.intp]
    values: NDArray[np.float32]
    scale: Floats
    log_close: Floats
    time_ms: NDArray[np.int64]
    observed: NDArray[np.bool_]


class Pool:
    """Rows of several pairs of one candle length, and the trees fitted on them.

    A fit looks at rows whose outcome was known at the start of the day of the moment asked for: so the folds of all
    pairs that end on a day share one.

    Args:
        tables: Features of each pair. Columns that are not in all of them, such as companions', are left out.
        count: How many tables there are.
    """

    def __init__(self, tables: Iterable[FeatureTable], count: int) -> None:
        self.names: tuple[str, ...] = ()
        self._parts: list[_Part] = []
        self._fits: dict[tuple[int, int, Compute], xgb.Booster | None] = {}
        columns: tuple[str, ...] = ()
        for table in tables:
            if not columns:
                columns = self.names = table.names
            common = tuple(name for name in self.names if name in table.names)
            if common != self.names:
                for number, part in enumerate(self._parts):
                    kept = [self.names.index(name) for name in common]
                    self._parts[number] = replace(part, values=part.values[:, kept])
                self.names = common
            step = -(-len(table) * count // MOST_ROWS)
            rows = np.flatnonzero(table.observed & np.isfinite(table.scale))[::step]
            values = table.values[rows][:, [table.names.index(name) for name in common]]
            self._parts.append(_Part(rows, values, table.scale[rows], table.log_close, table.time_ms, table.observed))

    def fit(self, known_ms: int, horizon: int, compute: Compute) -> xgb.Booster | None:
        """Returns trees that know nothing later than a time; None if there are too few rows, or one pair alone."""
        until = known_ms // _DAY_MS * _DAY_MS
        key = (until, horizon, compute)
        if key not in self._fits:
            self._fits[key] = self._fit(until, horizon, compute)
        return self._fits[key]

    def _fit(self, until: int, horizon: int, compute: Compute) -> xgb.Booster | None:
        values, wanted = [], []
        for part in self._parts:
            end = int(np.searchsorted(part.time_ms, until, side="right")) - horizon
            used = part.rows < end
            used &= target.has_outcome(part.observed, horizon)[part.rows]
            if np.count_nonzero(used) < LEAST_LEARNABLE:
                continue
            variation = target.future_variation(part.log_close, horizon)[part.rows[used]]
            values.append(part.values[used])
            wanted.append(np.clip(variation / part.scale[used], *RATIO_BOUNDS))
        if len(values) < 2:
            return None
        data = xgb.QuantileDMatrix(
            np.concatenate(values), np.concatenate(wanted), feature_names=list(self.names), nthread=compute.threads
        )
        return xgb.train(settings(PARAMETERS, compute), data, num_boost_round=PARAMETERS.trees)
