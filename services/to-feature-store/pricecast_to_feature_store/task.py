"""The to-feature-store service's work on the stream: batches into the store, then markers for those who read it.

The order makes it safe: rows are stored, then markers are durable, then offsets are committed. After a crash between
any two of them the same rows are stored again, which changes nothing, and the same markers are sent again, which
says nothing new.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pricecast_core import metrics
from pricecast_core.errors import StoreError
from pricecast_core.messages import FeatureRowStored, IndicatorRow, NewsSignal
from pricecast_core.stores.features import (
    CANDLE_COLUMNS,
    FeatureGroup,
    FeatureStore,
    Value,
    news_signals_group,
    technical_indicators_group,
)
from pricecast_core.streaming import StreamTask
from pricecast_core.topics import FEATURES
from pricecast_to_feature_store.rows import indicator_row, news_signal_row

SERVICE = "to-feature-store"
M = TypeVar("M", IndicatorRow, NewsSignal)


class _StoreTask(StreamTask[M], Generic[M]):
    """Gathers rows and stores them before each commit.

    Args:
        group: The feature group; what it is called in markers is `short_name`.
        store: The store.
        most: Most rows in one write.
    """

    stateful = False
    short_name: str

    def __init__(self, group: FeatureGroup, store: FeatureStore, most: int) -> None:
        self._group = group
        self._store = store
        self._most = most
        self._ensured = False
        self._rows: list[dict[str, Value]] = []

    def checkpoint(self) -> None:
        """Stores the rows, then sends a marker for each.

        Raises:
            StoreError: If the store is away or refuses; nothing is committed then.
        """
        rows, self._rows = self._rows, []
        if not rows:
            return
        self._timed("ensure", self._ensure)
        for start in range(0, len(rows), self._most):
            batch = rows[start : start + self._most]
            self._timed("write", functools.partial(self._store.write, self._group, batch))
        for row in rows:
            self._mark(row)

    def discard(self) -> None:
        """Forgets the rows gathered since the last commit."""
        self._rows = []

    def _ensure(self) -> None:
        if not self._ensured:
            self._store.ensure(self._group)
            self._ensured = True

    def _timed(self, operation: str, call: Callable[[], None]) -> None:
        start = time.perf_counter()
        try:
            call()
        except StoreError:
            metrics.STORE_ERRORS.labels(SERVICE, operation).inc()
            raise
        metrics.STORE_SECONDS.labels(SERVICE, operation).observe(time.perf_counter() - start)

    def _mark(self, row: dict[str, Value]) -> None:
        key, event_time_ms = str(row[self._group.entity]), int(row[self._group.event_time] or 0)
        self.stream.publish(
            FEATURES, key, FeatureRowStored(group=self.short_name, key=key, event_time_ms=event_time_ms)
        )
        metrics.EVENT_TIME.labels(SERVICE, key).set(event_time_ms / 1000)


class IndicatorRowsTask(_StoreTask[IndicatorRow]):
    """Stores rows of indicators. The group's columns are those of the rows: it grows with the pipeline's list."""

    short_name = "technical_indicators"

    def __init__(self, pipeline: str, store: FeatureStore, most: int) -> None:
        super().__init__(technical_indicators_group(pipeline, ()), store, most)
        self._pipeline = pipeline

    def handle(self, message: IndicatorRow, partition: int) -> None:
        """Gathers the row."""
        if not message.indicators.keys() <= self._group.columns.keys():
            self._grow(list(message.indicators))
        self._rows.append(indicator_row(message))

    def _grow(self, names: Sequence[str]) -> None:
        known = [name for name in self._group.columns if name not in CANDLE_COLUMNS]
        self._group = technical_indicators_group(self._pipeline, [*known, *names])
        self._ensured = False


class NewsSignalsTask(_StoreTask[NewsSignal]):
    """Stores news signals."""

    short_name = "news_signals"

    def __init__(self, pipeline: str, store: FeatureStore, most: int) -> None:
        super().__init__(news_signals_group(pipeline), store, most)

    def handle(self, message: NewsSignal, partition: int) -> None:
        """Gathers the row."""
        self._rows.append(news_signal_row(message))
