"""`Ensemble`: the geometric mean of trees over all pairs, the pair's own trees, and seasonal HAR.

The weights were chosen out of sample on the first three fifths of real series: trees lead at minutes, where there are
many outcomes to learn from; at an hour there are few, and least squares holds its own. Where there is one pair alone its
trees take the place of the common ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xgboost as xgb

from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample
from pricecast_price_predictor.models.har import FittedHar, HarSeasonal
from pricecast_price_predictor.models.trees import FittedTrees, Trees, draw_to_day, read_booster

if TYPE_CHECKING:
    import optuna

_SHORT_SECONDS = 1800
_SHORT = (0.5, 0.4, 0.1)
_LONG = (0.4, 0.2, 0.4)
_LONG_ALONE = (0.0, 0.5, 0.5)
_SHORT_ALONE = (0.0, 0.9, 0.1)


class _Stored(msgspec.Struct, frozen=True):
    weights: tuple[float, float, float]
    common_names: tuple[str, ...]
    common: bytes | None
    own: bytes
    har: bytes


@dataclass(frozen=True)
class FittedEnsemble:
    """Its parts.

    Attributes:
        weights: Of the common trees, the pair's own, and HAR.
        common_names: Features of the common trees.
        common: The common trees; None where the pair is alone.
        own: The pair's own trees.
        har: The regression.
    """

    weights: tuple[float, float, float]
    common_names: tuple[str, ...]
    common: xgb.Booster | None
    own: FittedTrees
    har: FittedHar

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the width, the same on both sides of zero."""
        _, own, har = self.weights
        log_scale = own * np.log(self.own.predict(table).scale) + har * np.log(self.har.predict(table).scale)
        if self.common is not None:
            columns = [table.names.index(name) for name in self.common_names]
            values = table.values if self.common_names == table.names else table.values[:, columns]
            factor = self.common.inplace_predict(np.ascontiguousarray(values)).astype(np.float64)
            log_scale = log_scale + self.weights[0] * np.log(draw_to_day(factor, table))
        scale = np.exp(log_scale)
        return Raw(scale, scale, np.zeros(len(table)))

    def importance(self) -> dict[str, float]:
        """Returns that of the pair's own trees."""
        return self.own.importance()

    def to_bytes(self) -> bytes:
        """Returns the parts."""
        common = None if self.common is None else bytes(self.common.save_raw("ubj"))
        return msgspec.msgpack.encode(
            _Stored(self.weights, self.common_names, common, self.own.to_bytes(), self.har.to_bytes())
        )


class Ensemble:
    """The kind."""

    name = "Ensemble"
    calibrated = True

    def defaults(self) -> Parameters:
        """Returns those of the pair's own trees."""
        return Trees().defaults()

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns hyper-parameters of the pair's own trees."""
        return Trees().suggest(trial)

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedEnsemble:
        """Fits each part."""
        common = None if sample.pool is None else sample.pool.fit(sample.known_ms, sample.horizon, compute)
        short = sample.horizon * sample.spec.candle_seconds <= _SHORT_SECONDS
        alone, together = (_SHORT_ALONE, _SHORT) if short else (_LONG_ALONE, _LONG)
        return FittedEnsemble(
            weights=alone if common is None else together,
            common_names=() if common is None or sample.pool is None else sample.pool.names,
            common=common,
            own=Trees().fit(sample, parameters, compute),
            har=HarSeasonal().fit(sample, {}, compute),
        )

    def from_bytes(self, data: bytes, threads: int) -> FittedEnsemble:
        """Reads the parts."""
        stored = msgspec.msgpack.decode(data, type=_Stored)
        return FittedEnsemble(
            stored.weights,
            stored.common_names,
            None if stored.common is None else read_booster(stored.common, threads),
            Trees().from_bytes(stored.own, threads),
            HarSeasonal().from_bytes(stored.har, threads),
        )
