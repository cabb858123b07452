"""`Trees`: the local volatility times a factor that boosted trees predict.

Gamma deviance with a log link: the factor is positive and errors count in proportion. It is learned from the variation
on the way to the outcome, and drawn a little towards the day's volatility.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xgboost as xgb

from pricecast_price_predictor import target
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.models.base import Compute, Parameters, Raw, Sample
from pricecast_price_predictor.windows import Floats

if TYPE_CHECKING:
    import optuna

RATIO_BOUNDS = (0.02, 50.0)
_TOWARDS_DAY = 0.1


class TreeParameters(msgspec.Struct, frozen=True):
    """Hyper-parameters. The defaults did well in every fold at every horizon tried."""

    trees: int = 250
    depth: int = 3
    learning_rate: float = 0.03
    min_child_weight: float = 200.0
    subsample: float = 0.5
    colsample: float = 0.5
    l2: float = 10.0


@dataclass(frozen=True)
class FittedTrees:
    """The trees.

    Attributes:
        booster: Predicts the factor.
    """

    booster: xgb.Booster

    def predict(self, table: FeatureTable) -> Raw:
        """Returns the width, the same on both sides of zero."""
        scale = draw_to_day(self.booster.inplace_predict(table.values).astype(np.float64), table)
        return Raw(scale, scale, np.zeros(len(table)))

    def importance(self) -> dict[str, float]:
        """Returns each feature's share of the loss that the trees save, largest first."""
        gains = {
            name: float(np.sum(gain)) for name, gain in self.booster.get_score(importance_type="total_gain").items()
        }
        total = sum(gains.values()) or 1.0
        return {name: gain / total for name, gain in sorted(gains.items(), key=lambda item: -item[1])}

    def to_bytes(self) -> bytes:
        """Returns XGBoost's own format."""
        return bytes(self.booster.save_raw("ubj"))


class Trees:
    """The kind."""

    name = "Trees"
    calibrated = True

    def defaults(self) -> Parameters:
        """Returns those that did well everywhere."""
        return msgspec.structs.asdict(TreeParameters())

    def suggest(self, trial: optuna.Trial) -> Parameters:
        """Returns hyper-parameters around the defaults."""
        return {
            "trees": trial.suggest_int("trees", 100, 400, step=50),
            "depth": trial.suggest_int("depth", 2, 5),
            "learning_rate": trial.suggest_float("learning_rate", 0.015, 0.06, log=True),
            "min_child_weight": trial.suggest_float("min_child_weight", 50.0, 500.0, log=True),
            "subsample": trial.suggest_float("subsample", 0.3, 0.8),
            "colsample": trial.suggest_float("colsample", 0.2, 0.8),
            "l2": trial.suggest_float("l2", 1.0, 100.0, log=True),
        }

    def fit(self, sample: Sample, parameters: Parameters, compute: Compute) -> FittedTrees:
        """Fits the trees."""
        rows, table = sample.learnable(), sample.table
        wanted = msgspec.convert(dict(parameters), TreeParameters)
        data = xgb.QuantileDMatrix(
            table.values[rows], factor(sample)[rows], feature_names=list(table.names), nthread=compute.threads
        )
        return FittedTrees(xgb.train(settings(wanted, compute), data, num_boost_round=wanted.trees))

    def from_bytes(self, data: bytes, threads: int) -> FittedTrees:
        """Reads the trees."""
        return FittedTrees(read_booster(data, threads))


def factor(sample: Sample) -> Floats:
    """Returns what is learned: the variation on the way to each outcome, in units of the local volatility."""
    variation = target.future_variation(sample.table.log_close, sample.horizon)
    return np.clip(variation / sample.table.scale, *RATIO_BOUNDS)


def settings(wanted: TreeParameters, compute: Compute) -> Mapping[str, object]:
    """Returns XGBoost's settings."""
    return {
        "objective": "reg:gamma",
        "tree_method": "hist",
        "max_depth": wanted.depth,
        "eta": wanted.learning_rate,
        "min_child_weight": wanted.min_child_weight,
        "subsample": wanted.subsample,
        "colsample_bytree": wanted.colsample,
        "reg_lambda": wanted.l2,
        "nthread": compute.threads,
        "seed": compute.seed,
        "verbosity": 0,
    }


def read_booster(data: bytes, threads: int) -> xgb.Booster:
    """Reads trees, for predicting with so many threads.

    Raises:
        ValueError: If the bytes are no trees.
    """
    booster = xgb.Booster({"nthread": threads})
    try:
        booster.load_model(bytearray(data))
    except xgb.core.XGBoostError as error:
        raise ValueError(f"trees: {error}") from None
    booster.set_param({"nthread": threads})
    return booster


def draw_to_day(factor: Floats, table: FeatureTable) -> Floats:
    """Returns the scale: local volatility times a factor, drawn a little towards the day's volatility where it is known.

    A return over the horizon spreads less between quiet and busy times than the realised variation that is learned
    from: without this the narrow intervals are too narrow and the wide ones too wide.
    """
    day = table.values[:, table.names.index("volatility_day")].astype(np.float64)  # log of the day's over the local one
    pull = np.where(np.isfinite(day), np.exp(_TOWARDS_DAY * (day - np.log(factor))), 1.0)
    return np.asarray(table.scale * factor * pull)
