"""What a pipeline knows of its market, for those who look on: candles and news, read page by page from the feature store.

The feature store proper joins in polars, which takes more memory than all else that a server of pages needs. Two
plain queries are enough here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pricecast_core.stores.features import news_signals_group, technical_indicators_group
from pricecast_core.stores.sql import SqlDatabase


@dataclass(frozen=True, slots=True)
class StoredCandle:
    """A closed candle.

    Attributes:
        end_ms: End of its window, exclusive.
        seconds: Length of its window.
    """

    end_ms: int
    seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """What one model read in one headline for one coin.

    Attributes:
        title: The headline; empty where it was stored by a version that kept none.
        signal: -1, 0 or 1: the price is expected to fall, to stay, to rise.
    """

    coin: str
    time_ms: int
    signal: int
    model_name: str
    news_id: str
    title: str
    url: str
    reasoning: str


class SqlMarket:
    """Reads candles and news from a feature store in SQLite or PostgreSQL. It connects with the first call.

    Args:
        url: SQLAlchemy URL of the feature store.

    Raises:
        SettingsError: If the URL can't be used.
    """

    def __init__(self, url: str) -> None:
        self._database = SqlDatabase(url)

    def candles(self, pipeline: str, pair: str, before_ms: int | None, limit: int) -> list[StoredCandle]:
        """Returns the candles of a pair that ended before a time, newest first; none where nothing is stored.

        Raises:
            StoreError: If the store can't be read.
        """
        name = technical_indicators_group(pipeline, ()).name
        names = ["window_end_ms", "candle_seconds", "open", "high", "low", "close", "volume", "trade_count"]
        with self._database.read() as connection:
            if not sa.inspect(connection).has_table(name):
                return []
            end = sa.column("window_end_ms", sa.BigInteger)
            query = sa.select(*map(sa.column, names)).select_from(sa.table(name)).where(sa.column("pair") == pair)
            if before_ms is not None:
                query = query.where(end < before_ms)
            rows = connection.execute(query.order_by(end.desc()).limit(limit)).all()
        return [StoredCandle(*row) for row in rows]

    def news(self, pipeline: str, coins: Sequence[str], before_ms: int | None, limit: int) -> list[StoredSignal]:
        """Returns what news meant for some coins before a time, newest first; none where nothing is stored.

        Raises:
            StoreError: If the store can't be read.
        """
        name = news_signals_group(pipeline).name
        with self._database.read() as connection:
            inspector = sa.inspect(connection)
            if not inspector.has_table(name):
                return []
            there = {column["name"] for column in inspector.get_columns(name)}
            time = sa.column("timestamp_ms", sa.BigInteger)
            empty = sa.literal("")
            text = [sa.func.coalesce(sa.column(word), empty) if word in there else empty for word in ("title", "url")]
            columns = [sa.column("coin"), time, sa.column("signal"), sa.column("model_name"), sa.column("news_id")]
            query = sa.select(*columns, *text, sa.func.coalesce(sa.column("reasoning"), empty)).select_from(
                sa.table(name)
            )
            query = query.where(sa.column("coin").in_(list(coins)))
            if before_ms is not None:
                query = query.where(time < before_ms)
            rows = connection.execute(query.order_by(time.desc(), sa.column("news_id")).limit(limit)).all()
        return [StoredSignal(*row) for row in rows]

    def news_of_coins(self, pipeline: str, since_ms: int) -> dict[str, tuple[int, float]]:
        """Returns how many headlines about each coin there were since a time, and the mean of what was read in them.

        Raises:
            StoreError: If the store can't be read.
        """
        name = news_signals_group(pipeline).name
        coin, signal = sa.column("coin", sa.String), sa.column("signal", sa.Integer)
        with self._database.read() as connection:
            if not sa.inspect(connection).has_table(name):
                return {}
            query = sa.select(coin, sa.func.count(), sa.func.sum(signal)).select_from(sa.table(name))
            rows = connection.execute(query.where(sa.column("timestamp_ms") >= since_ms).group_by(coin)).all()
        return {row[0]: (row[1], row[2] / row[1]) for row in rows}

    def close(self) -> None:
        """Gives back connections."""
        self._database.close()
