"""From the stored prediction to the API's: the one place that knows both."""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

from pricecast_core.messages import Prediction
from pricecast_core.values import namespace_and_name
from pricecast_prediction_api.gen.pricecast.v1 import prediction_pb2 as pb


def timestamp(milliseconds: int) -> Timestamp:
    """Returns a time in milliseconds since the Unix epoch as a `Timestamp`."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def milliseconds(moment: Timestamp) -> int:
    """Returns a `Timestamp` as whole milliseconds since the Unix epoch, rounded down."""
    return moment.seconds * 1000 + moment.nanos // 1_000_000


def is_over(prediction: Prediction) -> bool:
    """Returns whether the time whose price is predicted has passed."""
    return prediction.target_time_ms <= time.time() * 1000


def to_proto(prediction: Prediction) -> pb.Prediction:
    """Returns the prediction as the API gives it now."""
    namespace, name = namespace_and_name(prediction.pipeline)
    message = pb.Prediction(
        pair=prediction.pair,
        horizon_seconds=prediction.horizon_seconds,
        issued_at=timestamp(prediction.issued_at_ms),
        target_time=timestamp(prediction.target_time_ms),
        last_price=prediction.last_price,
        predicted_price=prediction.predicted_price,
        lower=prediction.lower,
        upper=prediction.upper,
        model_name=prediction.model_name,
        model_version=prediction.model_version,
        beats_naive=prediction.beats_naive,
        point_is_naive=prediction.point_is_naive,
        simulated=prediction.simulated,
        feature_time=timestamp(prediction.feature_time_ms),
        namespace=namespace,
        pipeline=name,
        is_over=is_over(prediction),
        live_skill=prediction.live_skill,
        distance=prediction.distance,
        drift=prediction.drift,
        caution=prediction.caution,
        abstained=prediction.abstained,
        volatility=prediction.volatility,
        quantiles=[
            pb.Quantile(level=level, price=price)
            for level, price in zip(prediction.levels, prediction.quantiles, strict=True)
        ],
    )
    if prediction.distribution_skill is not None or prediction.point_skill is not None:
        message.skill.CopyFrom(pb.Skill(distribution=prediction.distribution_skill, point=prediction.point_skill))
    if prediction.model_trained_through_ms:
        message.model_trained_through.CopyFrom(timestamp(prediction.model_trained_through_ms))
    if prediction.actual_price is not None:
        message.outcome.CopyFrom(
            pb.Outcome(
                actual_price=prediction.actual_price,
                absolute_error=prediction.absolute_error,
                naive_absolute_error=prediction.naive_absolute_error,
                inside_interval=prediction.inside_interval,
                pinball_loss=prediction.pinball_loss,
                naive_pinball_loss=prediction.naive_pinball_loss,
            )
        )
    return message
