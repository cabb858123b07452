"""The latest predictions, held in memory, which both protocols answer from.

One task reads the store a few times a second, off the event loop; callers wait for nothing while what it read last
is fresh. Where it isn't (at the start, or when the store is slow), all callers wait for the one read under way. An
answer is never older than `max_staleness_seconds`: with the store down for longer, callers are told so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from pricecast_core import logs
from pricecast_core.errors import PricecastError
from pricecast_core.messages import Prediction
from pricecast_core.metrics import API_WATCHERS, EVENT_TIME, STORE_ERRORS, STORE_SECONDS
from pricecast_prediction_api.problems import unavailable
from pricecast_prediction_api.snapshot import Entry, Key, Snapshot

_SERVICE = "prediction-api"
_MAX_PAUSE_SECONDS = 1.0
"""Longest pause between two attempts while the store is down."""

log = logs.get(__name__)


class Subscription:
    """What one watcher has yet to read: at most one prediction, the newest, of each pipeline, pair and horizon.

    Args:
        wanted: Which predictions the watcher wants.
    """

    def __init__(self, wanted: Callable[[Prediction], bool]) -> None:
        self._wanted = wanted
        self._pending: dict[Key, tuple[Entry, int]] = {}
        self._ready = asyncio.Event()
        self._closed = False

    def offer(self, entries: Iterable[Entry]) -> None:
        """Adds predictions; one that is still unread makes way for its successor."""
        for entry in entries:
            if self._wanted(entry.prediction):
                _, skipped = self._pending.pop(entry.key, (None, -1))
                self._pending[entry.key] = entry, skipped + 1
        if self._pending:
            self._ready.set()

    def close(self) -> None:
        """Ends the watch."""
        self._closed = True
        self._ready.set()

    async def next(self) -> tuple[Entry, int]:
        """Waits for the next prediction; returns it and how many before it were skipped.

        Raises:
            ApiError: If the server is going away.
        """
        while not self._pending:
            if self._closed:
                raise unavailable("the server is going away; connect again", "SHUTTING_DOWN")
            self._ready.clear()
            await self._ready.wait()
        return self._pending.pop(next(iter(self._pending)))


class LatestPredictions:
    """Keeps the latest predictions fresh.

    Args:
        read: Reads the latest predictions from the store; blocking, called in a thread, never twice at once.
        max_staleness_seconds: Oldest answer given.
        refresh_seconds: Pause between two reads.
        on_change: Called on the event loop when they become able, or unable, to answer.
    """

    def __init__(
        self,
        read: Callable[[], list[Prediction]],
        *,
        max_staleness_seconds: float,
        refresh_seconds: float,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._read = read
        self._max_staleness = max_staleness_seconds
        self._refresh_seconds = refresh_seconds
        self._on_change = on_change
        self._snapshot = Snapshot()
        self._as_of = float("-inf")
        self._error = "the store hasn't been read yet"
        self._was_fresh = False
        self._refreshing: asyncio.Task[None] | None = None
        self._subscriptions: set[Subscription] = set()
        self._executor = ThreadPoolExecutor(1, "latest")  # of its own: reads of history can't hold it up
        self._observe = STORE_SECONDS.labels(_SERVICE, "latest").observe
        self._failed = STORE_ERRORS.labels(_SERVICE, "latest").inc

    def is_fresh(self) -> bool:
        """Returns whether they are fresh enough to answer from."""
        return time.monotonic() - self._as_of <= self._max_staleness

    def problem(self) -> str | None:
        """Returns why they can't be answered from, or None. Safe to call from any thread."""
        return None if self.is_fresh() else self._error

    async def snapshot(self) -> Snapshot:
        """Returns the latest predictions, no older than allowed.

        Raises:
            ApiError: If the store can't be read.
        """
        if self.is_fresh():
            return self._snapshot
        try:
            await asyncio.wait_for(asyncio.shield(self._refresh()), self._max_staleness)
        except TimeoutError:
            self._error = f"the store has not answered for {self._max_staleness:g} s"
        if not self.is_fresh():
            # Why is for those who run the server (logs, /readyz): it names hosts.
            raise unavailable("predictions can't be read from their store; try again", "STORE_UNAVAILABLE")
        return self._snapshot

    def subscribe(self, wanted: Callable[[Prediction], bool]) -> Subscription:
        """Starts a watch: first the latest predictions, then each new one."""
        subscription = Subscription(wanted)
        subscription.offer(self._snapshot.entries.values())
        self._subscriptions.add(subscription)
        API_WATCHERS.set(len(self._subscriptions))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a watch."""
        self._subscriptions.discard(subscription)
        API_WATCHERS.set(len(self._subscriptions))

    def close(self) -> None:
        """Ends all watches."""
        for subscription in self._subscriptions:
            subscription.close()

    async def run(self) -> None:
        """Keeps them fresh until cancelled; they get old then."""
        pause = self._refresh_seconds
        try:
            while True:
                started = time.monotonic()
                await asyncio.wait({self._refresh()}, timeout=self._max_staleness)
                self._tell()
                pause = self._refresh_seconds if self._as_of >= started else min(2 * pause, _MAX_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _refresh(self) -> asyncio.Task[None]:
        """Returns the read under way, or starts one."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_once())
        return self._refreshing

    async def _refresh_once(self) -> None:
        started = time.monotonic()
        try:
            predictions = await asyncio.get_running_loop().run_in_executor(self._executor, self._read)
        except Exception as error:  # whatever it is, they get old, callers are told, and the next read may succeed
            self._failed()
            self._error = str(error)
            if not isinstance(error, PricecastError):
                log.exception("reading the latest predictions crashed")
            return
        self._observe(time.monotonic() - started)
        snapshot = Snapshot(predictions, self._snapshot)
        self._as_of = started
        if snapshot.changed or len(snapshot.entries) != len(self._snapshot.entries):
            self._snapshot = snapshot  # else the one before stays, with all that it has serialised
            for subscription in self._subscriptions:
                subscription.offer(snapshot.changed)
            for pair in snapshot.pairs:
                EVENT_TIME.labels(_SERVICE, pair).set(snapshot.feature_time_ms(pair) / 1000)
        self._tell()

    def _tell(self) -> None:
        fresh = self.is_fresh()
        if fresh != self._was_fresh:
            self._was_fresh = fresh
            if fresh:
                log.info("serving", pairs=self._snapshot.pairs)
            else:
                log.error("not serving", error=self._error)
            self._on_change(fresh)
