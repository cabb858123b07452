"""The methods of `PredictionService`, whatever protocol they are called by.

Each checks its request, answers from the latest predictions or the store, and raises `ApiError` for all that may go wrong. To a
caller, pipelines that it may not see are not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.stores.tokens import PageTokenError
from pricecast_prediction_api.access.caller import ANYONE, Caller
from pricecast_prediction_api.convert import to_proto
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.problems import invalid, not_found, several
from pricecast_prediction_api.reading import Reading
from pricecast_prediction_api.records import Records, Sources
from pricecast_prediction_api.requests import (
    check_horizon,
    find_all,
    one_pipeline,
    page_size,
    pair_of,
    pairs_of,
    time_of,
)
from pricecast_prediction_api.snapshot import Reply, Snapshot, named, ways_to_name

DEFAULT_PAGE = 100
MAX_PAGE = 1000


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
        sources: What else is there to read.
    """

    def __init__(
        self, latest: LatestPredictions, store: PredictionStore, pipeline: str = "", sources: Sources | None = None
    ) -> None:
        self._latest = latest
        self._store = store
        self._pipeline = pipeline
        self._reading = Reading()
        records = Records(self._snapshot, self._reading, store, pipeline, sources or Sources())
        self.by_name: dict[str, Unary | Streaming] = {
            "Predict": Unary(self.predict),
            "BatchPredict": Unary(self.batch_predict),
            "ListPredictions": Unary(self.list_predictions),
            "WatchPredictions": Streaming(self.watch_predictions),
            "ListPairs": Unary(self.list_pairs),
            **{name: Unary(call) for name, call in records.by_name.items()},
        }

    def close(self) -> None:
        """Drops the reads that haven't begun."""
        self._reading.close()

    async def predict(self, request: pb.PredictRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the latest prediction for a pair."""
        snapshot = await self._snapshot(caller)
        pipeline = named(request.pipeline, request.namespace)
        entry = snapshot.find(request.pair, request.horizon_seconds, pipeline)
        if entry is None:  # perhaps another spelling of the pair
            [entry] = find_all(snapshot, [pair_of(request.pair)], request.horizon_seconds, pipeline)
        return entry.reply

    async def batch_predict(self, request: pb.BatchPredictRequest, caller: Caller = ANYONE) -> Reply:
        """Returns the latest prediction for each of several pairs, or for every pair."""
        wanted = pairs_of(request.pairs)
        snapshot = await self._snapshot(caller)
        horizon, pipeline = request.horizon_seconds, named(request.pipeline, request.namespace)
        if wanted:
            return snapshot.batch(find_all(snapshot, wanted, horizon, pipeline))
        check_horizon(horizon)
        for pair in snapshot.pairs:
            if candidates := snapshot.several(pair, horizon, pipeline):
                raise several(pair, candidates)
        entries = (snapshot.find(pair, horizon, pipeline) for pair in snapshot.pairs)
        found = [entry for entry in entries if entry is not None]
        if snapshot.pairs and not found:
            find_all(snapshot, snapshot.pairs[:1], horizon, pipeline)
        return snapshot.batch(found)

    async def list_predictions(self, request: pb.ListPredictionsRequest, caller: Caller = ANYONE) -> Reply:
        """Returns a page of the history of a pair."""
        pair = pair_of(request.pair)
        check_horizon(request.horizon_seconds)
        limit = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        pipeline = self._pipeline
        if asked := named(request.pipeline, request.namespace):
            pipeline = one_pipeline(await self._snapshot(caller), pair, asked)
        elif not caller.sees_all:
            pipeline = one_pipeline(await self._snapshot(caller), pair, "")
        start_ms = time_of(request, "start_time")
        end_ms = time_of(request, "end_time")
        if start_ms is not None and end_ms is not None and start_ms > end_ms:
            raise invalid("end_time", "lies before start_time; swap them")
        query = partial(
            self._store.history,
            pair,
            pipeline=pipeline or None,
            horizon_seconds=request.horizon_seconds or None,
            start_ms=start_ms,
            end_ms=end_ms,
            limit=limit,
            token=request.page_token,
        )
        try:
            page = await self._reading.run("history", query)
        except PageTokenError as error:
            raise invalid("page_token", str(error).removeprefix("page_token: ")) from error
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
        wanted = frozenset(pairs_of(request.pairs))
        check_horizon(request.horizon_seconds)
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
