"""`Quantiles`: boosted trees on the two ends of the interval themselves, by pinball loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xgboost as xgb

from pricecast_core.values import QUANTILES
from pricecast_price_predictor import target
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample
from pricecast_price_predictor.models.trees import TreeParameters, Trees, read_booster, settings

if TYPE_CHECKING:
    import optuna

_BOUND = 50.0
_NARROWEST = 0.02


@dataclass(frozen=True)
class FittedQuantiles:
    """Trees with two outputs, in units of the local volatility.

    Attributes:
        booster: The trees.
    """

    booster: xgb.Booster

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the distance of each end from zero."""
        ends = self.booster.inplace_predict(table.values).astype(np.float64)
        lower, upper = np.maximum(-ends[:, 0], _NARROWEST), np.maximum(ends[:, 1], _NARROWEST)
        return Raw(lower * table.scale, upper * table.scale, np.zeros(len(table)))

    def importance(self) -> dict[str, float]:
        """Returns nothing: the two ends have an importance each."""
        return {}

    def to_bytes(self) -> bytes:
        """Returns XGBoost's own format."""
        return bytes(self.booster.save_raw("ubj"))


class Quantiles:
    """The kind."""

    name = "Quantiles"
    calibrated = True

    def defaults(self) -> Parameters:
        """Returns those of `Trees`."""
        return msgspec.structs.asdict(TreeParameters())

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns hyper-parameters as for `Trees`."""
        return Trees().suggest(trial)

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedQuantiles:
        """Fits the trees."""
        rows, table = sample.learnable(), sample.table
        wanted = msgspec.convert(dict(parameters), TreeParameters)
        returns = target.future_return(table.log_close, sample.horizon)[rows] / table.scale[rows]
        data = xgb.QuantileDMatrix(
            table.values[rows],
            np.clip(returns, -_BOUND, _BOUND),
            feature_names=list(table.names),
            nthread=compute.threads,
        )
        how = {
            **settings(wanted, compute),
            "objective": "reg:quantileerror",
            "quantile_alpha": np.array([QUANTILES[0], QUANTILES[-1]]),
        }
        return FittedQuantiles(xgb.train(how, data, num_boost_round=wanted.trees))

    def from_bytes(self, data: bytes, threads: int) -> FittedQuantiles:
        """Reads the trees."""
        return FittedQuantiles(read_booster(data, threads))
