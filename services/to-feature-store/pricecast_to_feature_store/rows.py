"""Messages to rows of a feature group, as plain data."""

from __future__ import annotations

from pricecast_core.messages import IndicatorRow, NewsSignal
from pricecast_core.stores.features import CANDLE_COLUMNS, Value


def indicator_row(message: IndicatorRow) -> dict[str, Value]:
    """Returns the row of a candle and its indicators."""
    row: dict[str, Value] = {name: getattr(message, name) for name in CANDLE_COLUMNS}
    row.update(message.indicators)
    return row


def news_signal_row(message: NewsSignal) -> dict[str, Value]:
    """Returns the row of a news signal, less the NUL characters that PostgreSQL can't keep."""
    return {
        "coin": message.coin,
        "model_name": message.model_name.replace("\0", ""),
        "news_id": message.news_id.replace("\0", ""),
        "timestamp_ms": message.timestamp_ms,
        "signal": message.signal,
        "reasoning": message.reasoning.replace("\0", ""),
        "title": message.title.replace("\0", ""),
        "url": message.url.replace("\0", ""),
    }
