"""Latest predictions: fresh answers, one read for many callers, honest when the store is gone, watchers that never hold it up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import StoreError
from pricecast_core.messages import Prediction
from pricecast_prediction_api.latest import LatestPredictions, Subscription
from pricecast_prediction_api.problems import ApiError
from pricecast_prediction_api.snapshot import Entry, Snapshot
from tests.contracts.predictions import a_prediction, scored


class Store:
    """What a store's `latest` does, under the test's control."""

    def __init__(self, *predictions: Prediction) -> None:
        self.predictions = list(predictions)
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def latest(self) -> list[Prediction]:
        self.calls += 1
        self.gate.wait(60)
        if self.error is not None:
            raise self.error
        return list(self.predictions)


@asynccontextmanager
async def running(latest: LatestPredictions) -> AsyncIterator[None]:
    task = asyncio.create_task(latest.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 what is awaited happens in a thread
            await asyncio.sleep(0.005)


def latest_of(
    store: Store, staleness: float = 20.0, refresh: float = 0.01, changes: list[bool] | None = None
) -> LatestPredictions:
    return LatestPredictions(
        store.latest,
        max_staleness_seconds=staleness,
        refresh_seconds=refresh,
        on_change=changes.append if changes is not None else lambda _: None,
    )


async def test_many_callers_wait_for_one_read() -> None:
    store = Store(a_prediction())
    store.gate.clear()
    latest = latest_of(store)
    callers = [asyncio.create_task(latest.snapshot()) for _ in range(100)]
    await until(lambda: store.calls == 1)
    store.gate.set()
    snapshots = await asyncio.gather(*callers)
    assert store.calls == 1
    assert all(snapshot is snapshots[0] for snapshot in snapshots)


async def test_a_fresh_view_answers_without_the_store() -> None:
    store = Store(a_prediction())
    latest = latest_of(store)
    await latest.snapshot()
    store.gate.clear()
    assert (await latest.snapshot()).pairs == ["BTC/USD"]
    assert store.calls == 1
    store.gate.set()


async def test_an_answer_is_never_older_than_allowed() -> None:
    store, changes = Store(a_prediction()), list[bool]()
    latest = latest_of(store, staleness=0.1, changes=changes)
    async with running(latest):
        await until(latest.is_fresh)
        store.error = StoreError("connection refused")
        await until(lambda: not latest.is_fresh())
        with pytest.raises(ApiError) as caught:
            await latest.snapshot()
        assert caught.value.code == grpc.StatusCode.UNAVAILABLE
        assert "connection refused" not in caught.value.message  # callers needn't know of our hosts
        assert latest.problem() == "connection refused"
        await until(lambda: changes == [True, False])
        store.error = None
        await until(lambda: changes == [True, False, True])
        assert (await latest.snapshot()).pairs == ["BTC/USD"]
        assert latest.problem() is None


async def test_a_store_that_hangs_fails_callers_in_time_and_is_asked_once() -> None:
    store = Store(a_prediction())
    store.gate.clear()
    latest = latest_of(store, staleness=0.05)
    async with running(latest):
        for _ in range(3):
            with pytest.raises(ApiError, match="can't be read"):
                await latest.snapshot()
            assert latest.problem() == "the store has not answered for 0.05 s"
        assert store.calls == 1
        store.gate.set()
        await until(latest.is_fresh)


async def test_a_read_that_crashes_is_an_unavailable_store_not_the_end() -> None:
    store = Store(a_prediction())
    store.error = ValueError("a bug")
    latest = latest_of(store, staleness=0.5)
    async with running(latest):
        with pytest.raises(ApiError, match="can't be read"):
            await latest.snapshot()
        assert latest.problem() == "a bug"
        store.error = None
        await until(latest.is_fresh)


async def test_what_did_not_change_is_serialised_once() -> None:
    store = Store(a_prediction(1), a_prediction(1, pair="ETH/USD"))
    latest = latest_of(store)
    async with running(latest):
        before = await latest.snapshot()
        await until(lambda: store.calls >= 3)
        assert await latest.snapshot() is before
        store.predictions[0] = a_prediction(2)
        await until(lambda: latest._snapshot is not before)
        after = await latest.snapshot()
    old, new = before.find("ETH/USD"), after.find("ETH/USD")
    assert old is not None
    assert old is new
    assert before.find("BTC/USD") is not after.find("BTC/USD")


async def test_a_watcher_gets_what_is_there_then_what_is_new_and_scores_too() -> None:
    store = Store(a_prediction(1), a_prediction(1, pair="ETH/USD"))
    latest = latest_of(store)
    async with running(latest):
        await latest.snapshot()
        watch = latest.subscribe(lambda prediction: prediction.pair == "BTC/USD")
        assert (await watch.next())[0].prediction == a_prediction(1)
        store.predictions = [a_prediction(2), a_prediction(2, pair="ETH/USD")]
        assert (await watch.next())[0].prediction == a_prediction(2)
        store.predictions[0] = scored(a_prediction(2))
        assert (await watch.next())[0].prediction == scored(a_prediction(2))
        latest.unsubscribe(watch)


async def test_a_closed_view_ends_its_watchers_once_they_read_all() -> None:
    latest = latest_of(Store(a_prediction()))
    await latest.snapshot()
    watch = latest.subscribe(lambda _: True)
    latest.close()
    assert (await watch.next())[0].prediction == a_prediction()
    with pytest.raises(ApiError, match="going away"):
        await watch.next()


@given(st.lists(st.tuples(st.sampled_from(["A/B1", "C/D1", "E/F1"]), st.booleans()), max_size=60))
def test_a_slow_watcher_misses_some_never_the_newest_and_knows_how_many(steps: list[tuple[str, bool]]) -> None:
    async def check() -> None:
        subscription = Subscription(lambda _: True)
        offered: dict[str, int] = {}
        taken: dict[str, int] = {}
        newest: dict[str, int] = {}
        for minute, (pair, read) in enumerate(steps):
            subscription.offer([Entry(a_prediction(minute, pair=pair))])
            offered[pair] = offered.get(pair, 0) + 1
            newest[pair] = minute
            if read:
                await take(subscription, taken)
        assert len(subscription._pending) <= 3
        while subscription._pending:
            pair, entry = await take(subscription, taken)
            assert entry.prediction == a_prediction(newest[pair], pair=pair)
        assert taken == offered

    async def take(subscription: Subscription, taken: dict[str, int]) -> tuple[str, Entry]:
        entry, skipped = await subscription.next()
        pair = entry.prediction.pair
        taken[pair] = taken.get(pair, 0) + skipped + 1
        return pair, entry

    asyncio.run(check())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "n.a", "m.a", "n.b"]),
            st.sampled_from(["X/Y1", "Z/W1"]),
            st.sampled_from([60, 300, 900]),
            st.sampled_from([0, 1, 3_000]),
        ),
        unique_by=lambda key: key[:3],
    )
)
def test_the_index_finds_what_a_search_would(keys: list[tuple[str, str, int, int]]) -> None:
    predictions = [
        a_prediction(minute, pipeline=pipeline, pair=pair, horizon_seconds=horizon)
        for pipeline, pair, horizon, minute in keys
    ]
    snapshot = Snapshot(predictions)
    ways = {"": "a n.a m.a n.b", "a": "a n.a m.a", "b": "n.b", "n.a": "n.a", "n.": "n.a n.b", "x.a": ""}
    for way, meant in ways.items():
        for pair in ("X/Y1", "Z/W1"):
            for horizon in (0, 60, 300, 900):
                fitting = [
                    p
                    for p in predictions
                    if p.pair == pair and p.pipeline in meant.split() and horizon in (0, p.horizon_seconds)
                ]
                newest = max((p.issued_at_ms for p in fitting), default=0)
                running = [p for p in fitting if p.issued_at_ms >= newest - 86_400_000]
                pipelines = sorted({p.pipeline for p in running})
                entry = snapshot.find(pair, horizon, way)
                if len(pipelines) > 1:
                    assert entry is None
                    assert snapshot.several(pair, horizon, way) == pipelines
                else:
                    expected = min(running, key=lambda p: p.horizon_seconds, default=None)
                    assert (entry.prediction if entry else None) == expected
                    assert not snapshot.several(pair, horizon, way)
