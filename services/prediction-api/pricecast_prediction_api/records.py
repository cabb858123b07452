"""The methods that look back: candles, news, models, scores, and how a pipeline fares.

Candles, news and models lie in stores of a pipeline's own, which a server that serves many may not be given. Then the
answer says so, instead of being empty.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc

from pricecast_core.stores.market_sql import SqlMarket, StoredCandle, StoredSignal
from pricecast_core.stores.models import ModelRegistry, ModelVersion, model_name
from pricecast_core.stores.predictions import PredictionStore, Series
from pricecast_core.stores.scores import Score
from pricecast_core.values import slug
from pricecast_prediction_api.access.caller import ANYONE, Caller
from pricecast_prediction_api.calibration import calibration, score_message
from pricecast_prediction_api.convert import timestamp
from pricecast_prediction_api.gen.pricecast.v1 import history_pb2 as history
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.pipelines import pipeline_state, read_processes
from pricecast_prediction_api.problems import ApiError
from pricecast_prediction_api.reading import Reading
from pricecast_prediction_api.requests import one_pipeline, page_size, pair_of, series_of, time_of
from pricecast_prediction_api.snapshot import Reply, Snapshot, named, ways_to_name

CALIBRATED = 2_000
"""So many of the newest forecasts say how far they can be trusted."""
SCORED_MS = 86_400_000
"""The scores of all pairs are of the forecasts since then."""
_SCORES_SECONDS = 15.0
"""How long the scores of all pairs are kept: they are one query over a day of every series."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to read besides predictions.

    Attributes:
        market: Candles and news.
        registry: Opens the registry of models, once.
        state_file: Where the local supervisor tells how the pipeline's processes fare.
    """

    market: SqlMarket | None = None
    registry: Callable[[], ModelRegistry] | None = None
    state_file: Path | None = None

    def close(self) -> None:
        """Gives back connections."""
        if self.market is not None:
            self.market.close()


@dataclass(frozen=True, slots=True)
class _Day:
    """What a day brought: the score of each series, and the news of each pipeline's coins."""

    since_ms: int = 0
    scores: Mapping[Series, Score] = field(default_factory=dict)
    news: Mapping[str, Mapping[str, tuple[int, float]]] = field(default_factory=dict)


class Records:
    """The methods, by name in `by_name`.

    Args:
        snapshot: Returns the latest predictions that a caller may see.
        reading: Runs reads.
        store: Where predictions are.
        pipeline: The only pipeline served; empty serves all.
        sources: What else there is.
    """

    def __init__(
        self,
        snapshot: Callable[[Caller], Awaitable[Snapshot]],
        reading: Reading,
        store: PredictionStore,
        pipeline: str,
        sources: Sources,
    ) -> None:
        self._snapshot = snapshot
        self._reading = reading
        self._store = store
        self._pipeline = pipeline
        self._sources = sources
        self._day = _Day()
        self._day_until = float("-inf")
        self._reading_day: asyncio.Task[None] | None = None
        self.by_name: dict[str, Callable[[Any, Caller], Awaitable[Reply]]] = {
            "ListScores": self.list_scores,
            "ListPipelines": self.list_pipelines,
            "GetCalibration": self.get_calibration,
            "ListCandles": self.list_candles,
            "ListNews": self.list_news,
            "ListModelVersions": self.list_model_versions,
        }

    async def list_scores(self, request: pb.ListScoresRequest, caller: Caller = ANYONE) -> Reply:
        """Returns how the forecasts of every pair did over the last day."""
        snapshot = await self._snapshot(caller)
        asked = named(request.pipeline, request.namespace)
        day = await self._last_day()
        messages = []
        for series, score in sorted(day.scores.items()):
            pipeline, pair, horizon = series
            if series not in snapshot.entries or asked not in ways_to_name(pipeline):
                continue
            count, signal = day.news.get(pipeline, {}).get(pair.partition("/")[0], (0, 0.0))
            messages.append(
                history.SeriesScore(
                    pipeline_id=pipeline,
                    pair=pair,
                    horizon_seconds=horizon,
                    score=score_message(score),
                    news_count=count,
                    news_signal=signal,
                )
            )
        answer = pb.ListScoresResponse(since=timestamp(day.since_ms), scores=messages)
        return Reply(answer, is_large=len(messages) > 20)

    async def list_pipelines(self, request: pb.ListPipelinesRequest, caller: Caller = ANYONE) -> Reply:
        """Returns what is known of each pipeline's state."""
        snapshot = await self._snapshot(caller)
        names = set(snapshot.pipelines())
        if self._pipeline and caller.may_see(self._pipeline):
            names.add(self._pipeline)
        file = self._sources.state_file
        processes = [] if file is None else await self._reading.run("processes", lambda: read_processes(file))
        entries: dict[str, list[Any]] = {name: [] for name in names}
        for (name, _, _), entry in snapshot.entries.items():
            entries[name].append(entry.prediction)
        asked = named("", request.namespace)
        states = [
            pipeline_state(name, found, processes if name == self._pipeline else [], int(time.time() * 1000))
            for name, found in sorted(entries.items())
            if asked in ways_to_name(name)
        ]
        return Reply(pb.ListPipelinesResponse(pipelines=states))

    async def get_calibration(self, request: pb.GetCalibrationRequest, caller: Caller = ANYONE) -> Reply:
        """Returns how far the forecasts of a pair and horizon can be trusted."""
        snapshot = await self._snapshot(caller)
        series = series_of(snapshot, request, named(request.pipeline, request.namespace)).key
        pipeline, pair, horizon = series

        def read() -> history.Calibration:
            page = self._store.history(pair, pipeline=pipeline, horizon_seconds=horizon, limit=CALIBRATED)
            return calibration(pipeline, pair, horizon, page.predictions)

        found = await self._reading.run("history", read)
        return Reply(pb.GetCalibrationResponse(calibration=found), is_large=True)

    async def list_candles(self, request: pb.ListCandlesRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the candles of a pair."""
        market = _given(self._sources.market, "candles aren't served here", "FEATURE_STORE_URL")
        pair, pipeline = await self._pair_and_pipeline(request, caller)
        limit, before_ms = page_size(request.page_size, 500, 2_000), time_of(request, "end_time")
        found = await self._reading.run("candles", lambda: market.candles(pipeline, pair, before_ms, limit))
        return Reply(pb.ListCandlesResponse(candles=map(_candle, found)), is_large=len(found) > 20)

    async def list_news(self, request: pb.ListNewsRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the news of a pair's base coin."""
        market = _given(self._sources.market, "news aren't served here", "FEATURE_STORE_URL")
        pair, pipeline = await self._pair_and_pipeline(request, caller)
        limit, before_ms = page_size(request.page_size, 100, 500), time_of(request, "end_time")
        coins = [pair.partition("/")[0]]
        found = await self._reading.run("news", lambda: market.news(pipeline, coins, before_ms, limit))
        return Reply(pb.ListNewsResponse(news=map(_news, found)), is_large=len(found) > 20)

    async def list_model_versions(self, request: pb.ListModelVersionsRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the versions of the model of a pair and horizon."""
        open_registry = _given(self._sources.registry, "models aren't served here", "MODEL_REGISTRY_URL")
        snapshot = await self._snapshot(caller)
        pipeline, pair, horizon = series_of(snapshot, request, named(request.pipeline, request.namespace)).key
        limit = page_size(request.page_size, 20, 100)
        name = model_name(pipeline, slug(pair), horizon)
        versions = await self._reading.run("models", lambda: open_registry().versions(name))
        before = request.before_version
        wanted = [version for version in versions if before <= 0 or version.version < before][:limit]
        return Reply(pb.ListModelVersionsResponse(versions=map(_version, wanted)), is_large=len(wanted) > 20)

    async def _pair_and_pipeline(self, request: Any, caller: Caller) -> tuple[str, str]:
        pair = pair_of(request.pair)
        return pair, one_pipeline(await self._snapshot(caller), pair, named(request.pipeline, request.namespace))

    async def _last_day(self) -> _Day:
        """Returns what the last day brought to every series, as of a few seconds ago: one read for all who ask."""
        if time.monotonic() >= self._day_until:
            if self._reading_day is None or self._reading_day.done():
                self._reading_day = asyncio.create_task(self._read_day())
                self._reading_day.add_done_callback(_look_at)
            await asyncio.shield(self._reading_day)  # a caller that gives up doesn't end the others' read
        return self._day

    async def _read_day(self) -> None:
        snapshot = await self._snapshot(ANYONE)
        pairs, pipelines = snapshot.pairs, snapshot.pipelines()
        since_ms = int(time.time() * 1000) - SCORED_MS
        only, market = self._pipeline or None, self._sources.market

        def read() -> _Day:
            scores = self._store.scores(pairs, since_ms, only)
            news = {name: market.news_of_coins(name, since_ms) for name in pipelines} if market else {}
            return _Day(since_ms, scores, news)

        self._day = await self._reading.run("scores", read)
        self._day_until = time.monotonic() + _SCORES_SECONDS


def _look_at(task: asyncio.Task[None]) -> None:
    """Takes note of an error that all callers may have left without waiting for: asyncio would log it as lost."""
    if not task.cancelled():
        task.exception()


def _given(source: T | None, what: str, setting: str) -> T:
    """Returns what there is to read, or raises that this server has none."""
    if source is None:
        raise ApiError(grpc.StatusCode.UNIMPLEMENTED, f"{what}: the server needs {setting} for it")
    return source


def _candle(candle: StoredCandle) -> history.Candle:
    return history.Candle(
        end_time=timestamp(candle.end_ms),
        seconds=candle.seconds,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        trade_count=candle.trade_count,
    )


def _news(item: StoredSignal) -> history.NewsItem:
    return history.NewsItem(
        coin=item.coin,
        time=timestamp(item.time_ms),
        signal=item.signal,
        model_name=item.model_name,
        title=item.title,
        url=item.url if item.url.startswith(("https://", "http://")) else "",
        reasoning=item.reasoning,
        news_id=item.news_id,
    )


def _version(version: ModelVersion) -> history.ModelVersion:
    return history.ModelVersion(
        version=version.version,
        stage=version.stage,
        reason=version.reason,
        created_at=timestamp(version.created_at_ms),
        trained_through=timestamp(version.trained_through_ms),
        kind=str(version.parameters.get("kind", "")),
        measures=[history.Measure(name=name, value=value) for name, value in sorted(version.metrics.items())],
    )
