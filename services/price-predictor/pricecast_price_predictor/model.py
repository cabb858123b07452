"""The price model: how wide the next return's distribution is, where its middle lies, where its ends lie.

    quantiles of the return = median + scale * (lower end, 0, upper end)

- The scale is the local volatility times a factor that boosted trees predict (gamma deviance, log link: the factor is
  positive and errors count in proportion), drawn a little towards the day's volatility. It is where skill is to be had.
- The median is a ridge regression of the standardised return on short-term returns and oscillators, shrunk hard. It is
  used only where it beat the last close out of sample; else it is zero.
- The ends are measured, not assumed, and tracked live (`conformal`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from pricecast_core.errors import StoreError
from pricecast_price_predictor import conformal, target
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.windows import Floats

FORMAT = 1
_RATIO_BOUNDS = (0.02, 50.0)
_STANDARDISED_BOUND = 6.0
_INPUT_BOUND = 4.0
_RIDGE_PER_ROW = 2.0
_TOWARDS_DAY = 0.1
_MEDIAN_INPUTS = ("return_", "close_in_range", "rsi_14", "stochrsi_k", "bbands_middle", "sma_21")


class Parameters(msgspec.Struct, frozen=True):
    """Hyper-parameters of the scale's trees. The defaults did well in every fold at every horizon tried."""

    trees: int = 250
    depth: int = 3
    learning_rate: float = 0.03
    min_child_weight: float = 200.0
    subsample: float = 0.5
    colsample: float = 0.5
    l2: float = 10.0

    def as_dict(self) -> dict[str, Any]:
        """Returns them by name."""
        return msgspec.structs.asdict(self)


class MedianModel(msgspec.Struct, frozen=True):
    """A ridge regression of the standardised return on bounded, standardised inputs, without an intercept."""

    inputs: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]

    def predict(self, table: FeatureTable) -> Floats:
        """Returns the median in units of the scale; an input not known yet counts as its mean."""
        if not self.inputs:
            return np.zeros(len(table))
        out = np.zeros(len(table))
        for name, mean, deviation, weight in zip(self.inputs, self.means, self.deviations, self.weights, strict=True):
            out += weight * (_bounded(table, name, mean) - mean) / deviation
        return out

    @classmethod
    def fit(cls, table: FeatureTable, standardised: Floats, rows: NDArray[np.intp]) -> MedianModel:
        """Fits on some rows.

        Args:
            table: Features.
            standardised: Return over the horizon in units of the scale, for every row of the table.
            rows: The rows to learn from.
        """
        names = tuple(name for name in table.names if name.startswith(_MEDIAN_INPUTS[0]) or name in _MEDIAN_INPUTS)
        inputs = np.column_stack([_bounded(table, name, 0.0)[rows] for name in names])
        means, deviations = inputs.mean(axis=0), inputs.std(axis=0)
        used = deviations > 1e-9
        names = tuple(name for name, use in zip(names, used, strict=True) if use)
        inputs = (inputs[:, used] - means[used]) / deviations[used]
        wanted = np.clip(standardised[rows], -_STANDARDISED_BOUND, _STANDARDISED_BOUND)
        penalty = _RIDGE_PER_ROW * len(rows) * np.eye(len(names))
        weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ wanted)
        return cls(names, tuple(means[used].tolist()), tuple(deviations[used].tolist()), tuple(weights.tolist()))


@dataclass(frozen=True, slots=True)
class Raw:
    """What the model says of each row before calibration, in log-return.

    Attributes:
        scale: Width of the distribution.
        median: Its middle.
    """

    scale: Floats
    median: Floats

    def standardise(self, returns: Floats) -> Floats:
        """Returns outcomes in units of the scale around the median."""
        return (returns - self.median) / self.scale

    def quantiles(self, ends: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the quantiles for ends of shape (rows, 2): shape (rows, 3), never crossing."""
        return np.column_stack(
            (self.median + self.scale * ends[:, 0], self.median, self.median + self.scale * ends[:, 1])
        )


class _Stored(msgspec.Struct, frozen=True):
    format: int
    candle_seconds: int
    indicators: tuple[str, ...]
    companions: tuple[str, ...]
    news: bool
    horizon_rows: int
    parameters: Parameters
    median: MedianModel
    use_median: bool
    ends: tuple[float, float]
    trained_through_ms: int
    booster: bytes


@dataclass(frozen=True)
class PriceModel:
    """A trained model of one pair and one horizon.

    Attributes:
        spec: The features it needs.
        horizon_rows: How many rows ahead it looks.
        parameters: What it was trained with.
        booster: Trees that predict the factor of the scale.
        median_model: Regression of the median.
        use_median: False where the median is the last close.
        ends: Ends of the interval in units of the scale, before live outcomes move them.
        trained_through_ms: Event time of the newest row whose outcome was learned from.
    """

    spec: FeatureSpec
    horizon_rows: int
    parameters: Parameters
    booster: xgb.Booster
    median_model: MedianModel
    use_median: bool
    ends: tuple[float, float]
    trained_through_ms: int

    def predict(self, table: FeatureTable) -> Raw:
        """Returns scale and median of each row; NaN where the local volatility isn't known yet."""
        scale = _scale(self.booster, table)
        median = self.median_model.predict(table) * scale if self.use_median else np.zeros(len(table))
        return Raw(scale, median)

    def calibrator(self) -> conformal.Calibrator:
        """Returns a calibrator that starts from the model's ends."""
        return conformal.Calibrator(self.ends, conformal.LEARNING_RATE / self.horizon_rows)

    def with_median(self, use: bool) -> PriceModel:
        """Returns the model with its median used or not. The ends are left as they are."""
        return replace(self, use_median=use)

    def importance(self) -> dict[str, float]:
        """Returns each feature's share of the loss that the trees save, largest first."""
        gains = {
            name: float(np.sum(gain)) for name, gain in self.booster.get_score(importance_type="total_gain").items()
        }
        total = sum(gains.values()) or 1.0
        return {name: gain / total for name, gain in sorted(gains.items(), key=lambda item: -item[1])}

    def to_bytes(self) -> bytes:
        """Returns the model as bytes: MessagePack around XGBoost's own format. Nothing in it is executed on loading."""
        spec = self.spec
        return msgspec.msgpack.encode(
            _Stored(
                format=FORMAT,
                candle_seconds=spec.candle_seconds,
                indicators=spec.indicators,
                companions=spec.companions,
                news=spec.news,
                horizon_rows=self.horizon_rows,
                parameters=self.parameters,
                median=self.median_model,
                use_median=self.use_median,
                ends=self.ends,
                trained_through_ms=self.trained_through_ms,
                booster=bytes(self.booster.save_raw("ubj")),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes, threads: int = 1) -> PriceModel:
        """Reads a model.

        Args:
            data: What `to_bytes` gave.
            threads: Threads for predicting: one is fastest for single rows.

        Raises:
            StoreError: If the bytes are no model of this format.
        """
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
        except msgspec.DecodeError as error:
            raise StoreError(f"artifact: is no price model ({error}); train again") from None
        if stored.format != FORMAT:
            raise StoreError(f"artifact: format {stored.format} is not {FORMAT}; train again with this version")
        booster = xgb.Booster({"nthread": threads})
        booster.load_model(bytearray(stored.booster))
        booster.set_param({"nthread": threads})
        return cls(
            spec=FeatureSpec(stored.candle_seconds, stored.indicators, stored.companions, stored.news),
            horizon_rows=stored.horizon_rows,
            parameters=stored.parameters,
            booster=booster,
            median_model=stored.median,
            use_median=stored.use_median,
            ends=stored.ends,
            trained_through_ms=stored.trained_through_ms,
        )


def learnable(table: FeatureTable, horizon: int, start: int, stop: int) -> NDArray[np.intp]:
    """Returns the rows in [start, stop) whose features are known and whose outcome lies before `stop`."""
    end = max(start, stop - horizon)
    good = table.observed[start:end] & np.isfinite(table.scale[start:end])
    return np.flatnonzero(good) + start


def fit(
    spec: FeatureSpec,
    table: FeatureTable,
    horizon: int,
    *,
    parameters: Parameters | None = None,
    start: int = 0,
    stop: int | None = None,
    threads: int = 1,
    seed: int = 7,
) -> PriceModel:
    """Trains a model on the rows [start, stop), outcomes included: it knows nothing of row `stop` and later.

    Args:
        spec: The features in the table.
        table: Features.
        horizon: Horizon in rows.
        parameters: Hyper-parameters.
        start: First row.
        stop: The row after the last.
        threads: Threads of XGBoost.
        seed: Seed of row and column sampling.

    Raises:
        ValueError: If there are too few rows to learn from.
    """
    parameters = parameters or Parameters()
    stop = len(table) if stop is None else stop
    rows = learnable(table, horizon, start, stop)
    if len(rows) < 50:
        raise ValueError(f"rows: {len(rows)} are too few to learn from; give 50 or more")
    returns = target.future_return(table.log_close, horizon)
    variation = target.future_variation(table.log_close, horizon)
    ratio = np.clip(variation[rows] / table.scale[rows], *_RATIO_BOUNDS)
    data = xgb.QuantileDMatrix(table.values[rows], ratio, feature_names=list(table.names), nthread=threads)
    booster = xgb.train(
        {
            "objective": "reg:gamma",
            "tree_method": "hist",
            "max_depth": parameters.depth,
            "eta": parameters.learning_rate,
            "min_child_weight": parameters.min_child_weight,
            "subsample": parameters.subsample,
            "colsample_bytree": parameters.colsample,
            "reg_lambda": parameters.l2,
            "nthread": threads,
            "seed": seed,
            "verbosity": 0,
        },
        data,
        num_boost_round=parameters.trees,
    )
    standardised = returns / _scale(booster, table)
    median = MedianModel.fit(table, standardised, rows)
    return PriceModel(
        spec=spec,
        horizon_rows=horizon,
        parameters=parameters,
        booster=booster,
        median_model=median,
        use_median=False,
        ends=conformal.fit_ends(standardised[rows]),
        trained_through_ms=int(table.time_ms[rows[-1] + horizon]),
    )


def _scale(booster: xgb.Booster, table: FeatureTable) -> Floats:
    """Returns the scale: what the trees say, drawn a little towards the day's volatility where that is known.

    A return over the horizon spreads less between quiet and busy times than the realised variation that is learned
    from: without this the narrow intervals are too narrow and the wide ones too wide.
    """
    factor = booster.inplace_predict(table.values).astype(np.float64)
    day = table.values[:, table.names.index("volatility_day")].astype(np.float64)  # log of the day's over the local one
    pull = np.where(np.isfinite(day), np.exp(_TOWARDS_DAY * (day - np.log(factor))), 1.0)
    return np.asarray(table.scale * factor * pull)


def _bounded(table: FeatureTable, name: str, missing: float) -> Floats:
    column = table.values[:, table.names.index(name)].astype(np.float64)
    return np.clip(np.where(np.isfinite(column), column, missing), -_INPUT_BOUND, _INPUT_BOUND)
