"""What a feature store promises.

Rows are written by deterministic primary key, so that writing them again changes nothing. Reads are ordered by
event time. A view joins other rows **as of** each row's event time: what was known then, never what came later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pricecast_core.values import namespace_and_name

if TYPE_CHECKING:
    import polars as pl

Value = str | int | float | None
_DIGEST_LENGTH = 8
_LONGEST_NAME = 63 - len("_by_time") - 2
"""PostgreSQL's longest name, less what an index's name adds and the underscores."""


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """A table of features.

    Attributes:
        name: Full name, as `group_name` makes it.
        primary_key: Columns that identify a row.
        entity: Column of the primary key that rows are grouped by: pair or coin.
        event_time: Column of the row's event time, milliseconds since the epoch.
        columns: Every column and its type, in order, the key's included.
    """

    name: str
    primary_key: tuple[str, ...]
    entity: str
    event_time: str
    columns: Mapping[str, type[str] | type[int] | type[float]]


def group_name(pipeline: str, group: str) -> str:
    """Returns the name of a pipeline's feature group: letters, digits and underscores, as every store takes them.

    On a cluster `a-b.c` and `a.b-c` would come out alike, and PostgreSQL cuts what is longer than 63 characters, an
    index's name included. So what people read of the pipeline is cut, and a digest of all of it tells one from another.
    """
    namespace, name = namespace_and_name(pipeline)
    if not namespace:
        return f"{name}_{group}".replace("-", "_")
    digest = hashlib.sha256(pipeline.encode()).hexdigest()[:_DIGEST_LENGTH]
    readable = f"{namespace}_{name}"[: _LONGEST_NAME - len(group) - _DIGEST_LENGTH]
    return f"{readable}_{digest}_{group}".replace("-", "_")


TECHNICAL_INDICATORS_KEY = ("pair", "candle_seconds", "window_end_ms")
CANDLE_COLUMNS: Mapping[str, type[str] | type[int] | type[float]] = {
    "pair": str,
    "candle_seconds": int,
    "window_start_ms": int,
    "window_end_ms": int,
    "open": float,
    "high": float,
    "low": float,
    "close": float,
    "volume": float,
    "trade_count": int,
}


def technical_indicators_group(pipeline: str, indicators: Sequence[str]) -> FeatureGroup:
    """Returns the group of candles with their indicators; `indicators` are column names such as `rsi_14`."""
    return FeatureGroup(
        name=group_name(pipeline, "technical_indicators"),
        primary_key=TECHNICAL_INDICATORS_KEY,
        entity="pair",
        event_time="window_end_ms",
        columns={**CANDLE_COLUMNS, **dict.fromkeys(indicators, float)},
    )


def news_signals_group(pipeline: str) -> FeatureGroup:
    """Returns the group of news signals: one row a headline, coin and model."""
    return FeatureGroup(
        name=group_name(pipeline, "news_signals"),
        primary_key=("coin", "model_name", "news_id"),
        entity="coin",
        event_time="timestamp_ms",
        columns={
            "coin": str,
            "model_name": str,
            "news_id": str,
            "timestamp_ms": int,
            "signal": int,
            "reasoning": str,
            "title": str,
            "url": str,
        },
    )


class FeatureStore(Protocol):
    """Keeps feature rows and gives them back in event time."""

    def ensure(self, group: FeatureGroup) -> None:
        """Creates the group, or adds the columns that it lacks. Safe to call by several processes at once."""

    def write(self, group: FeatureGroup, rows: Sequence[Mapping[str, Value]]) -> None:
        """Stores the rows durably; a row whose key is there already is replaced.

        Raises:
            StoreError: If nothing of the batch may be assumed stored. Writing it again is safe.
        """

    def columns(self, name: str) -> list[str]:
        """Returns the columns of the group of that name; empty where there is no such group."""

    def read(
        self,
        name: str,
        *,
        entities: Sequence[str] | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        last: int | None = None,
    ) -> pl.DataFrame:
        """Returns rows of a group by (entity, event time).

        Args:
            name: The group's full name.
            entities: Pairs or coins; all by default.
            start_ms: Earliest event time, inclusive.
            end_ms: Latest event time, inclusive.
            last: Only the newest so many rows of each entity.
        """

    def count(self, name: str, entity: str) -> int:
        """Returns how many rows an entity has."""

    def close(self) -> None:
        """Gives back connections."""


def missing_history(store: FeatureStore, group: str, entities: Sequence[str], least: int) -> str | None:
    """Says which of some entities has fewer than the `least` rows in a group, and how many; None if none has."""
    for entity in entities:
        if (count := store.count(group, entity)) < least:
            return f"{entity}: {count} of {least} candles"
    return None
