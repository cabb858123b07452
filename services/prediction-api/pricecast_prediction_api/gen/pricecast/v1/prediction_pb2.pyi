import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Prediction(_message.Message):
    __slots__ = ("pair", "horizon_seconds", "issued_at", "target_time", "last_price", "predicted_price", "lower", "upper", "model_name", "model_version", "skill", "beats_naive", "point_is_naive", "simulated", "feature_time", "pipeline", "model_trained_through", "outcome", "is_over", "namespace", "quantiles", "live_skill", "distance", "drift", "caution", "abstained", "volatility")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    TARGET_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_PRICE_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SKILL_FIELD_NUMBER: _ClassVar[int]
    BEATS_NAIVE_FIELD_NUMBER: _ClassVar[int]
    POINT_IS_NAIVE_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    FEATURE_TIME_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    MODEL_TRAINED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    LIVE_SKILL_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    CAUTION_FIELD_NUMBER: _ClassVar[int]
    ABSTAINED_FIELD_NUMBER: _ClassVar[int]
    VOLATILITY_FIELD_NUMBER: _ClassVar[int]
    pair: str
    horizon_seconds: int
    issued_at: _timestamp_pb2.Timestamp
    target_time: _timestamp_pb2.Timestamp
    last_price: float
    predicted_price: float
    lower: float
    upper: float
    model_name: str
    model_version: int
    skill: Skill
    beats_naive: bool
    point_is_naive: bool
    simulated: bool
    feature_time: _timestamp_pb2.Timestamp
    pipeline: str
    model_trained_through: _timestamp_pb2.Timestamp
    outcome: Outcome
    is_over: bool
    namespace: str
    quantiles: _containers.RepeatedCompositeFieldContainer[Quantile]
    live_skill: float
    distance: float
    drift: float
    caution: str
    abstained: bool
    volatility: float
    def __init__(self, pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., target_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_price: _Optional[float] = ..., predicted_price: _Optional[float] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., model_name: _Optional[str] = ..., model_version: _Optional[int] = ..., skill: _Optional[_Union[Skill, _Mapping]] = ..., beats_naive: _Optional[bool] = ..., point_is_naive: _Optional[bool] = ..., simulated: _Optional[bool] = ..., feature_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pipeline: _Optional[str] = ..., model_trained_through: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., is_over: _Optional[bool] = ..., namespace: _Optional[str] = ..., quantiles: _Optional[_Iterable[_Union[Quantile, _Mapping]]] = ..., live_skill: _Optional[float] = ..., distance: _Optional[float] = ..., drift: _Optional[float] = ..., caution: _Optional[str] = ..., abstained: _Optional[bool] = ..., volatility: _Optional[float] = ...) -> None: ...

class Quantile(_message.Message):
    __slots__ = ("level", "price")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    level: float
    price: float
    def __init__(self, level: _Optional[float] = ..., price: _Optional[float] = ...) -> None: ...

class Skill(_message.Message):
    __slots__ = ("distribution", "point")
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    distribution: float
    point: float
    def __init__(self, distribution: _Optional[float] = ..., point: _Optional[float] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("actual_price", "absolute_error", "naive_absolute_error", "inside_interval", "pinball_loss", "naive_pinball_loss")
    ACTUAL_PRICE_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_ERROR_FIELD_NUMBER: _ClassVar[int]
    NAIVE_ABSOLUTE_ERROR_FIELD_NUMBER: _ClassVar[int]
    INSIDE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    PINBALL_LOSS_FIELD_NUMBER: _ClassVar[int]
    NAIVE_PINBALL_LOSS_FIELD_NUMBER: _ClassVar[int]
    actual_price: float
    absolute_error: float
    naive_absolute_error: float
    inside_interval: bool
    pinball_loss: float
    naive_pinball_loss: float
    def __init__(self, actual_price: _Optional[float] = ..., absolute_error: _Optional[float] = ..., naive_absolute_error: _Optional[float] = ..., inside_interval: _Optional[bool] = ..., pinball_loss: _Optional[float] = ..., naive_pinball_loss: _Optional[float] = ...) -> None: ...
