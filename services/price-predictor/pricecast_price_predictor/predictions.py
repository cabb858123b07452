"""Forecasts as messages, and what came of them. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from pricecast_core.messages import Prediction
from pricecast_core.stores.models import ModelVersion
from pricecast_price_predictor.evaluation import columns, pinball, skill
from pricecast_price_predictor.novelty import UNKNOWN, Novelty

NAIVE = "naive"
"""Model name of the forecast that is made until there is a model: last close and yesterday's distribution."""
FEWEST_SCORED = 200
"""Scores from which a live skill is told."""
ROLLING_WINDOW = 1_000
"""Newest scored predictions that the live skill looks at."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is forecast at one row.

    Attributes:
        pair: The pair.
        horizon_seconds: How far ahead.
        feature_time_ms: Event time of the row.
        issued_at_ms: When it is made, in the market's time.
        last_price: Close of the row.
        levels: The levels that are forecast, `QUANTILES` among them.
        quantiles: Their quantiles of the log-return.
        live_skill: How the model has done on its newest scores; None while there are few.
        novelty: What is new in the row, against what the model learned from.
        abstains: Whether the model abstains; the quantiles then are naive.
    """

    pair: str
    horizon_seconds: int
    feature_time_ms: int
    issued_at_ms: int
    last_price: float
    levels: Sequence[float]
    quantiles: Sequence[float]
    live_skill: float | None = None
    novelty: Novelty = UNKNOWN
    abstains: bool = False


def make(
    pipeline: str, forecast: Forecast, version: ModelVersion | None, *, point_is_naive: bool, simulated: bool
) -> Prediction:
    """Returns the message of a forecast.

    Args:
        pipeline: Name of the pipeline.
        forecast: The forecast.
        version: The model; None for the naive forecast.
        point_is_naive: Whether the point forecast is the last price.
        simulated: Whether the market is a simulation.
    """
    prices = [forecast.last_price * math.exp(quantile) for quantile in forecast.quantiles]
    lower, median, upper = (prices[column] for column in columns(forecast.levels))
    metrics = version.metrics if version is not None else {}
    beats_naive = metrics.get("distribution_skill", 0.0) > 0 and not forecast.abstains  # where it abstains it is naive
    return Prediction(
        pipeline=pipeline,
        pair=forecast.pair,
        horizon_seconds=forecast.horizon_seconds,
        issued_at_ms=forecast.issued_at_ms,
        target_time_ms=forecast.feature_time_ms + forecast.horizon_seconds * 1000,
        feature_time_ms=forecast.feature_time_ms,
        last_price=forecast.last_price,
        predicted_price=forecast.last_price if point_is_naive else median,
        lower=lower,
        upper=upper,
        levels=tuple(forecast.levels),
        quantiles=tuple(prices),
        model_name=version.model_name if version is not None else NAIVE,
        model_version=version.version if version is not None else 0,
        model_trained_through_ms=version.trained_through_ms if version is not None else 0,
        distribution_skill=metrics.get("distribution_skill"),
        point_skill=metrics.get("point_skill"),
        point_is_naive=point_is_naive,
        beats_naive=beats_naive,
        simulated=simulated,
        live_skill=forecast.live_skill,
        distance=forecast.novelty.distance,
        volatility=forecast.novelty.volatility,
        drift=forecast.novelty.drift,
        caution="; ".join(_cautions(forecast)),
        abstained=forecast.abstains,
    )


def _cautions(forecast: Forecast) -> Iterator[str]:
    if forecast.abstains:
        yield "the model abstains, the naive forecast stands in"
    if forecast.novelty.caution:
        yield forecast.novelty.caution
    if forecast.live_skill is not None and forecast.live_skill < 0:
        yield f"live the model has been worse than naive (skill {forecast.live_skill:+.2%})"


def scored(prediction: Prediction, actual_price: float, naive_quantiles: Sequence[float] | None) -> Prediction:
    """Returns the prediction with what came of it.

    Args:
        prediction: The prediction.
        actual_price: Price at its target time.
        naive_quantiles: Quantiles of the log-return that the naive distribution had at its feature time, if known.
    """
    last = prediction.last_price
    actual = np.array([math.log(actual_price / last)])
    prices = (prediction.lower, prediction.predicted_price, prediction.upper)
    loss = float(pinball(actual, np.array([[math.log(price / last) for price in prices]])).mean())
    naive = None if naive_quantiles is None else float(pinball(actual, np.array([naive_quantiles])).mean())
    return msgspec.structs.replace(
        prediction,
        actual_price=actual_price,
        absolute_error=abs(prediction.predicted_price - actual_price),
        naive_absolute_error=abs(last - actual_price),
        inside_interval=prediction.lower <= actual_price <= prediction.upper,
        pinball_loss=loss,
        naive_pinball_loss=naive,
    )


def is_judged(prediction: Prediction) -> bool:
    """Returns whether a prediction says how its model does: it was compared with the naive one, and not naive itself."""
    return prediction.naive_pinball_loss is not None and not prediction.abstained


class RollingScores:
    """Skill and coverage over the newest scored predictions of the model version that made the newest.

    Args:
        window: How many are looked at.
    """

    def __init__(self, window: int = ROLLING_WINDOW) -> None:
        self._scored: deque[Prediction] = deque(maxlen=window)
        self._losses: deque[float] = deque(maxlen=window)  # beside the predictions: each forecast asks for their sums
        self._naive_losses: deque[float] = deque(maxlen=window)
        self._version = 0

    def add(self, prediction: Prediction) -> None:
        """Adds a scored prediction that says how the model does; one of another version starts afresh, unless it is earlier."""
        if not is_judged(prediction):
            return
        if prediction.model_version != self._version:
            if self._scored and prediction.feature_time_ms < self._scored[-1].feature_time_ms:
                return
            for kept in (self._scored, self._losses, self._naive_losses):
                kept.clear()
            self._version = prediction.model_version
        self._scored.append(prediction)
        self._losses.append(prediction.pinball_loss or 0.0)
        self._naive_losses.append(prediction.naive_pinball_loss or 0.0)

    def __len__(self) -> int:
        return len(self._scored)

    @property
    def scored(self) -> Sequence[Prediction]:
        """The predictions."""
        return self._scored

    @property
    def model_version(self) -> int:
        """The version they are of; 0 for the naive forecast."""
        return self._version

    @property
    def distribution_skill(self) -> float:
        """1 - pinball loss / naive pinball loss."""
        return skill(sum(self._losses), sum(self._naive_losses))

    def settled_skill(self, version: int) -> float | None:
        """Returns the distribution skill of a version; None while there are too few scores of it to speak of one."""
        return self.distribution_skill if version == self._version and len(self._scored) >= FEWEST_SCORED else None

    @property
    def point_skill(self) -> float:
        """1 - mean absolute error / that of the last price."""
        error = sum(one.absolute_error or 0.0 for one in self._scored)
        return skill(error, sum(one.naive_absolute_error or 0.0 for one in self._scored))

    @property
    def coverage(self) -> float:
        """Share inside the interval."""
        return sum(bool(one.inside_interval) for one in self._scored) / len(self._scored) if self._scored else 0.0
