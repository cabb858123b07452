"""The five methods of `PredictionService`, whatever protocol they are called by.

Each checks its request, answers from the latest predictions or the store, and raises `ApiError` for all that may go wrong. To a
caller, pipelines that it may not see are not there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from pricecast_core import logs
from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.messages import Prediction
from pricecast_core.metrics import STORE_ERRORS, STORE_SECONDS
from pricecast_core.stores.predictions import Page, PredictionStore
from pricecast_core.stores.tokens import PageTokenError
from pricecast_core.values import LONGEST_HORIZON_SECONDS, read_pair
from pricecast_prediction_api.access.caller import ANYONE, Caller
from pricecast_prediction_api.convert import milliseconds, to_proto
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.problems import invalid, not_found, several, unavailable
from pricecast_prediction_api.snapshot import Entry, Reply, Snapshot, named, ways_to_name

MAX_PAIRS = 100
DEFAULT_PAGE = 100
MAX_PAGE = 1000
_HISTORY_THREADS = 4

_SERVICE = "prediction-api"

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one response."""

    call: Callable[[Any, Caller], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Streaming:
    """A method with a stream of responses."""

    call: Callable[[Any, Caller], AsyncIterator[Reply]]


class PredictionMethods:
    """The service's methods, by name in `by_name`.

    Args:
        latest: The latest predictions.
        store: Where history is read from, in a few threads.
        pipeline: The only pipeline served; empty serves all.
    """

    def __init__(self, latest: LatestPredictions, store: PredictionStore, pipeline: str = "") -> None:
        self._latest = latest
        self._store = store
        self._pipeline = pipeline
        self._executor = ThreadPoolExecutor(_HISTORY_THREADS, "history")
        self.by_name: dict[str, Unary | Streaming] = {
            "Predict": Unary(self.predict),
            "BatchPredict": Unary(self.batch_predict),
            "ListPredictions": Unary(self.list_predictions),
            "WatchPredictions": Streaming(self.watch_predictions),
            "ListPairs": Unary(self.list_pairs),
        }

    def close(self) -> None:
        """Drops the reads that haven't begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def predict(self, request: pb.PredictRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the latest prediction for a pair."""
        snapshot = await self._snapshot(caller)
        pipeline = named(request.pipeline, request.namespace)
        entry = snapshot.find(request.pair, request.horizon_seconds, pipeline)
        if entry is None:  # perhaps another spelling of the pair
            [entry] = _find_all(snapshot, [_pair(request.pair, "pair")], request.horizon_seconds, pipeline)
        return entry.reply

    async def batch_predict(self, request: pb.BatchPredictRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the latest prediction for each of several pairs, or for every pair."""
        wanted = _pairs(request.pairs)
        snapshot = await self._snapshot(caller)
        horizon, pipeline = request.horizon_seconds, named(request.pipeline, request.namespace)
        if wanted:
            return snapshot.batch(_find_all(snapshot, wanted, horizon, pipeline))
        _check_horizon(horizon)
        for pair in snapshot.pairs:
            if candidates := snapshot.several(pair, horizon, pipeline):
                raise several(pair, candidates)
        entries = (snapshot.find(pair, horizon, pipeline) for pair in snapshot.pairs)
        found = [entry for entry in entries if entry is not None]
        if snapshot.pairs and not found:
            _find_all(snapshot, snapshot.pairs[:1], horizon, pipeline)
        return snapshot.batch(found)

    async def list_predictions(self, request: pb.ListPredictionsRequest, caller: Caller = ANYONE) -> Reply:
        """Returns a page of the history of a pair."""
        pair = _pair(request.pair, "pair")
        _check_horizon(request.horizon_seconds)
        if request.page_size < 0:
            raise invalid(
                "page_size", f"{request.page_size} is negative; give 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}"
            )
        pipeline = self._pipeline
        if asked := named(request.pipeline, request.namespace):
            pipeline = _one(await self._snapshot(caller), pair, asked)
        elif not caller.sees_all:
            pipeline = _one(await self._snapshot(caller), pair, "")
        start_ms = _time(request, "start_time")
        end_ms = _time(request, "end_time")
        if start_ms is not None and end_ms is not None and start_ms > end_ms:
            raise invalid("end_time", "lies before start_time; swap them")
        page = await self._history(
            pair,
            pipeline=pipeline or None,
            horizon_seconds=request.horizon_seconds or None,
            start_ms=start_ms,
            end_ms=end_ms,
            limit=min(request.page_size or DEFAULT_PAGE, MAX_PAGE),
            token=request.page_token,
        )
        if not page.predictions and not request.page_token:
            known = (await self._snapshot(caller)).pairs
            if pair not in known:
                raise not_found("pair", [pair], known)
        response = pb.ListPredictionsResponse(
            predictions=map(to_proto, page.predictions), next_page_token=page.next_token
        )
        return Reply(response, is_large=len(page.predictions) > 20)

    async def watch_predictions(
        self, request: pb.WatchPredictionsRequest, caller: Caller = ANYONE
    ) -> AsyncIterator[Reply]:
        """Streams the latest predictions, then each new one."""
        wanted = frozenset(_pairs(request.pairs))
        _check_horizon(request.horizon_seconds)
        snapshot = await self._snapshot(caller)
        unknown = sorted(wanted.difference(snapshot.pairs))
        if unknown:
            raise not_found("pair", unknown, snapshot.pairs)
        horizon, pipeline = request.horizon_seconds, named(request.pipeline, request.namespace)

        def is_wanted(prediction: Prediction) -> bool:
            return (
                (not wanted or prediction.pair in wanted)
                and horizon in (0, prediction.horizon_seconds)
                and pipeline in ways_to_name(prediction.pipeline)
                and caller.may_see(prediction.pipeline)
            )

        subscription = self._latest.subscribe(is_wanted)
        try:
            while True:
                entry, skipped = await subscription.next()
                if skipped:
                    yield Reply(pb.WatchPredictionsResponse(prediction=entry.proto, skipped_count=skipped))
                else:
                    yield entry.event
        finally:
            self._latest.unsubscribe(subscription)

    async def list_pairs(self, request: pb.ListPairsRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the pairs that are predicted."""
        snapshot = await self._snapshot(caller)
        pipeline = named(request.pipeline, request.namespace)
        return snapshot.list_pairs(pipeline) if pipeline else snapshot.every_pair

    async def _snapshot(self, caller: Caller) -> Snapshot:
        """Returns what is predicted, as far as the caller may see it."""
        snapshot = await self._latest.snapshot()
        return snapshot if caller.sees_all else snapshot.seen_by(caller)

    async def _history(self, pair: str, **query: Any) -> Page:
        started = time.monotonic()
        try:
            page = await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: self._store.history(pair, **query)
            )
        except PageTokenError as error:
            raise invalid("page_token", str(error).removeprefix("page_token: ")) from error
        except StoreError as error:
            STORE_ERRORS.labels(_SERVICE, "history").inc()
            log.warning("history can't be read", error=str(error))
            raise unavailable("history can't be read from its store; try again", "STORE_UNAVAILABLE") from error
        STORE_SECONDS.labels(_SERVICE, "history").observe(time.monotonic() - started)
        return page


def _find_all(snapshot: Snapshot, wanted: Sequence[str], horizon_seconds: int, pipeline: str) -> list[Entry]:
    """Returns the latest prediction for each pair, or raises what of the request isn't known."""
    _check_horizon(horizon_seconds)
    found = [snapshot.find(pair, horizon_seconds, pipeline) for pair in wanted]
    entries = [entry for entry in found if entry is not None]
    if len(entries) == len(wanted):
        return entries
    unknown = [pair for pair in wanted if pair not in snapshot.pairs]
    if unknown:
        raise not_found("pair", unknown, snapshot.pairs)
    missing = wanted[found.index(None)]
    if candidates := snapshot.several(missing, horizon_seconds, pipeline):
        raise several(missing, candidates)
    if not snapshot.pipelines(missing, pipeline):
        raise not_found("pipeline", [pipeline], snapshot.pipelines(missing))
    raise not_found("horizon", [horizon_seconds], snapshot.horizons(missing, pipeline))


def _one(snapshot: Snapshot, pair: str, pipeline: str) -> str:
    """Returns the id of the one pipeline that is meant, or raises what of the request isn't known."""
    if pair not in snapshot.pairs:
        raise not_found("pair", [pair], snapshot.pairs)
    candidates = snapshot.pipelines(pair, pipeline)
    if not candidates:
        raise not_found("pipeline", [pipeline], snapshot.pipelines(pair))
    if len(candidates) > 1:
        raise several(pair, candidates)
    return candidates[0]


def _pair(text: str, field: str) -> str:
    if not text:
        raise invalid(field, "is empty; write BASE/QUOTE, for example BTC/USD")
    try:
        return read_pair(text)
    except SettingsError as error:
        raise invalid(field, str(error).removeprefix("pair: ")) from error


def _pairs(texts: Sequence[str]) -> list[str]:
    if len(texts) > MAX_PAIRS:
        raise invalid("pairs", f"{len(texts)} pairs are too many; ask for {MAX_PAIRS} at most at once")
    return [_pair(text, f"pairs[{number}]") for number, text in enumerate(texts)]


def _check_horizon(seconds: int) -> None:
    if seconds < 0:
        raise invalid("horizon_seconds", f"{seconds} is negative; give seconds, or 0 for any")
    if seconds > LONGEST_HORIZON_SECONDS:
        raise invalid("horizon_seconds", f"{seconds} is above {LONGEST_HORIZON_SECONDS}, the longest horizon there is")


def _time(request: pb.ListPredictionsRequest, field: str) -> int | None:
    if not request.HasField(field):
        return None
    time: Timestamp = getattr(request, field)
    if not (-62_135_596_800 <= time.seconds <= 253_402_300_799 and 0 <= time.nanos < 1_000_000_000):
        raise invalid(field, "is not a time between the years 1 and 9999")
    return milliseconds(time)
