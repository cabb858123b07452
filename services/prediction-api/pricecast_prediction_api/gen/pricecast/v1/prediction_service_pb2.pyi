import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricecast_prediction_api.gen.pricecast.v1 import history_pb2 as _history_pb2
from pricecast_prediction_api.gen.pricecast.v1 import prediction_pb2 as _prediction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("pair", "horizon_seconds", "pipeline", "namespace")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pair: str
    horizon_seconds: int
    pipeline: str
    namespace: str
    def __init__(self, pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("prediction",)
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    prediction: _prediction_pb2.Prediction
    def __init__(self, prediction: _Optional[_Union[_prediction_pb2.Prediction, _Mapping]] = ...) -> None: ...

class BatchPredictRequest(_message.Message):
    __slots__ = ("pairs", "horizon_seconds", "pipeline", "namespace")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedScalarFieldContainer[str]
    horizon_seconds: int
    pipeline: str
    namespace: str
    def __init__(self, pairs: _Optional[_Iterable[str]] = ..., horizon_seconds: _Optional[int] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class BatchPredictResponse(_message.Message):
    __slots__ = ("predictions",)
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[_prediction_pb2.Prediction]
    def __init__(self, predictions: _Optional[_Iterable[_Union[_prediction_pb2.Prediction, _Mapping]]] = ...) -> None: ...

class ListPredictionsRequest(_message.Message):
    __slots__ = ("pair", "horizon_seconds", "pipeline", "start_time", "end_time", "page_size", "page_token", "namespace")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pair: str
    horizon_seconds: int
    pipeline: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    namespace: str
    def __init__(self, pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., pipeline: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ListPredictionsResponse(_message.Message):
    __slots__ = ("predictions", "next_page_token")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[_prediction_pb2.Prediction]
    next_page_token: str
    def __init__(self, predictions: _Optional[_Iterable[_Union[_prediction_pb2.Prediction, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchPredictionsRequest(_message.Message):
    __slots__ = ("pairs", "horizon_seconds", "pipeline", "namespace")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedScalarFieldContainer[str]
    horizon_seconds: int
    pipeline: str
    namespace: str
    def __init__(self, pairs: _Optional[_Iterable[str]] = ..., horizon_seconds: _Optional[int] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class WatchPredictionsResponse(_message.Message):
    __slots__ = ("prediction", "skipped_count")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    prediction: _prediction_pb2.Prediction
    skipped_count: int
    def __init__(self, prediction: _Optional[_Union[_prediction_pb2.Prediction, _Mapping]] = ..., skipped_count: _Optional[int] = ...) -> None: ...

class ListPairsRequest(_message.Message):
    __slots__ = ("pipeline", "namespace")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    namespace: str
    def __init__(self, pipeline: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ListPairsResponse(_message.Message):
    __slots__ = ("pairs",)
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[PredictedPair]
    def __init__(self, pairs: _Optional[_Iterable[_Union[PredictedPair, _Mapping]]] = ...) -> None: ...

class PredictedPair(_message.Message):
    __slots__ = ("pair", "horizons_seconds", "pipelines", "simulated", "pipeline_ids")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZONS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_IDS_FIELD_NUMBER: _ClassVar[int]
    pair: str
    horizons_seconds: _containers.RepeatedScalarFieldContainer[int]
    pipelines: _containers.RepeatedScalarFieldContainer[str]
    simulated: bool
    pipeline_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pair: _Optional[str] = ..., horizons_seconds: _Optional[_Iterable[int]] = ..., pipelines: _Optional[_Iterable[str]] = ..., simulated: _Optional[bool] = ..., pipeline_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListScoresRequest(_message.Message):
    __slots__ = ("pipeline", "namespace")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    namespace: str
    def __init__(self, pipeline: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ListScoresResponse(_message.Message):
    __slots__ = ("scores", "since")
    SCORES_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    scores: _containers.RepeatedCompositeFieldContainer[_history_pb2.SeriesScore]
    since: _timestamp_pb2.Timestamp
    def __init__(self, scores: _Optional[_Iterable[_Union[_history_pb2.SeriesScore, _Mapping]]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListPipelinesRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class ListPipelinesResponse(_message.Message):
    __slots__ = ("pipelines",)
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    pipelines: _containers.RepeatedCompositeFieldContainer[_history_pb2.PipelineState]
    def __init__(self, pipelines: _Optional[_Iterable[_Union[_history_pb2.PipelineState, _Mapping]]] = ...) -> None: ...

class GetCalibrationRequest(_message.Message):
    __slots__ = ("pair", "horizon_seconds", "pipeline", "namespace")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    pair: str
    horizon_seconds: int
    pipeline: str
    namespace: str
    def __init__(self, pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class GetCalibrationResponse(_message.Message):
    __slots__ = ("calibration",)
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    calibration: _history_pb2.Calibration
    def __init__(self, calibration: _Optional[_Union[_history_pb2.Calibration, _Mapping]] = ...) -> None: ...

class ListCandlesRequest(_message.Message):
    __slots__ = ("pair", "pipeline", "namespace", "end_time", "page_size")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    pair: str
    pipeline: str
    namespace: str
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    def __init__(self, pair: _Optional[str] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListCandlesResponse(_message.Message):
    __slots__ = ("candles",)
    CANDLES_FIELD_NUMBER: _ClassVar[int]
    candles: _containers.RepeatedCompositeFieldContainer[_history_pb2.Candle]
    def __init__(self, candles: _Optional[_Iterable[_Union[_history_pb2.Candle, _Mapping]]] = ...) -> None: ...

class ListNewsRequest(_message.Message):
    __slots__ = ("pair", "pipeline", "namespace", "end_time", "page_size")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    pair: str
    pipeline: str
    namespace: str
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    def __init__(self, pair: _Optional[str] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListNewsResponse(_message.Message):
    __slots__ = ("news",)
    NEWS_FIELD_NUMBER: _ClassVar[int]
    news: _containers.RepeatedCompositeFieldContainer[_history_pb2.NewsItem]
    def __init__(self, news: _Optional[_Iterable[_Union[_history_pb2.NewsItem, _Mapping]]] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("pair", "horizon_seconds", "pipeline", "namespace", "before_version", "page_size")
    PAIR_FIELD_NUMBER: _ClassVar[int]
    HORIZON_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    pair: str
    horizon_seconds: int
    pipeline: str
    namespace: str
    before_version: int
    page_size: int
    def __init__(self, pair: _Optional[str] = ..., horizon_seconds: _Optional[int] = ..., pipeline: _Optional[str] = ..., namespace: _Optional[str] = ..., before_version: _Optional[int] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListModelVersionsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[_history_pb2.ModelVersion]
    def __init__(self, versions: _Optional[_Iterable[_Union[_history_pb2.ModelVersion, _Mapping]]] = ...) -> None: ...
