import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Candle(_message.Message):
    __slots__ = ("end_time", "seconds", "open", "high", "low", "close", "volume", "trade_count")
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    TRADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    end_time: _timestamp_pb2.Timestamp
    seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int
    def __init__(self, end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seconds: _Optional[int] = ..., open: _Optional[float] = ..., high: _Optional[float] = ..., low: _Optional[float] = ..., close: _Optional[float] = ..., volume: _Optional[float] = ..., trade_count: _Optional[int] = ...) -> None: ...

class NewsItem(_message.Message):
    __slots__ = ("coin", "time", "signal", "model_name", "title", "url", "reasoning", "news_id")
    COIN_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    NEWS_ID_FIELD_NUMBER: _ClassVar[int]
    coin: str
    time: _timestamp_pb2.Timestamp
    signal: int
    model_name: str
    title: str
    url: str
    reasoning: str
    news_id: str
    def __init__(self, coin: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signal: _Optional[int] = ..., model_name: _Optional[str] = ..., title: _Optional[str] = ..., url: _Optional[str] = ..., reasoning: _Optional[str] = ..., news_id: _Optional[str] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("version", "stage", "reason", "created_at", "trained_through", "kind", "measures")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    TRAINED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    version: int
    stage: str
    reason: str
    created_at: _timestamp_pb2.Timestamp
    trained_through: _timestamp_pb2.Timestamp
    kind: str
    measures: _containers.RepeatedCompositeFieldContainer[Measure]
    def __init__(self, version: _Optional[int] = ..., stage: _Optional[str] = ..., reason: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trained_through: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., measures: _Optional[_Iterable[_Union[Measure, _Mapping]]] = ...) -> None: ...

class Measure(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class SeriesScore(_message.Message):
    __slots__ = ("pipeline_id", "pair", "horizon_seconds", "score", "news_count", "news_signal")
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NEWS_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEWS_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    pair: str
    horizon_seconds: int
    score: Score
    news_count: int
    news_signal: float
    def __init__(self, pipeline_id: _Optional[str] = ..., pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., news_count: _Optional[int] = ..., news_signal: _Optional[float] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("count", "coverage", "distribution_skill", "point_skill")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_SKILL_FIELD_NUMBER: _ClassVar[int]
    POINT_SKILL_FIELD_NUMBER: _ClassVar[int]
    count: int
    coverage: float
    distribution_skill: float
    point_skill: float
    def __init__(self, count: _Optional[int] = ..., coverage: _Optional[float] = ..., distribution_skill: _Optional[float] = ..., point_skill: _Optional[float] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("pipeline_id", "pair", "horizon_seconds", "score", "since", "until", "reliability", "pit", "over_time", "by_width", "by_hour")
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    PIT_FIELD_NUMBER: _ClassVar[int]
    OVER_TIME_FIELD_NUMBER: _ClassVar[int]
    BY_WIDTH_FIELD_NUMBER: _ClassVar[int]
    BY_HOUR_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    pair: str
    horizon_seconds: int
    score: Score
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    reliability: _containers.RepeatedCompositeFieldContainer[Reliability]
    pit: _containers.RepeatedCompositeFieldContainer[PitBin]
    over_time: _containers.RepeatedCompositeFieldContainer[ScoreBucket]
    by_width: _containers.RepeatedCompositeFieldContainer[ScoreBucket]
    by_hour: _containers.RepeatedCompositeFieldContainer[ScoreBucket]
    def __init__(self, pipeline_id: _Optional[str] = ..., pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reliability: _Optional[_Iterable[_Union[Reliability, _Mapping]]] = ..., pit: _Optional[_Iterable[_Union[PitBin, _Mapping]]] = ..., over_time: _Optional[_Iterable[_Union[ScoreBucket, _Mapping]]] = ..., by_width: _Optional[_Iterable[_Union[ScoreBucket, _Mapping]]] = ..., by_hour: _Optional[_Iterable[_Union[ScoreBucket, _Mapping]]] = ...) -> None: ...

class Reliability(_message.Message):
    __slots__ = ("level", "observed", "count")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    level: float
    observed: float
    count: int
    def __init__(self, level: _Optional[float] = ..., observed: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class PitBin(_message.Message):
    __slots__ = ("from_level", "to_level", "share")
    FROM_LEVEL_FIELD_NUMBER: _ClassVar[int]
    TO_LEVEL_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    from_level: float
    to_level: float
    share: float
    def __init__(self, from_level: _Optional[float] = ..., to_level: _Optional[float] = ..., share: _Optional[float] = ...) -> None: ...

class ScoreBucket(_message.Message):
    __slots__ = ("start", "number", "mean_width", "score", "model_versions")
    START_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MEAN_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    number: int
    mean_width: float
    score: Score
    model_versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., number: _Optional[int] = ..., mean_width: _Optional[float] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., model_versions: _Optional[_Iterable[int]] = ...) -> None: ...

class PipelineState(_message.Message):
    __slots__ = ("pipeline_id", "ready", "message", "pair_count", "simulated", "feature_time", "processes")
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    FEATURE_TIME_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    ready: bool
    message: str
    pair_count: int
    simulated: bool
    feature_time: _timestamp_pb2.Timestamp
    processes: _containers.RepeatedCompositeFieldContainer[ProcessState]
    def __init__(self, pipeline_id: _Optional[str] = ..., ready: _Optional[bool] = ..., message: _Optional[str] = ..., pair_count: _Optional[int] = ..., simulated: _Optional[bool] = ..., feature_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., processes: _Optional[_Iterable[_Union[ProcessState, _Mapping]]] = ...) -> None: ...

class ProcessState(_message.Message):
    __slots__ = ("name", "state", "message", "restarts", "since")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    message: str
    restarts: int
    since: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., message: _Optional[str] = ..., restarts: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
