"""Settings of the technical-indicators service."""

from __future__ import annotations

from pydantic import Field

from pricecast_core.settings.base import CommaSeparated, StreamSettings


class TechnicalIndicatorsSettings(StreamSettings):
    """Which indicators are computed, over how many candles."""

    candle_seconds: int = Field(60, ge=1, le=86_400, description="Length of a candle")
    indicators: CommaSeparated = Field(
        default_factory=list,
        description="Indicators by name and periods, such as rsi(14),macd(10,24,9); empty means the default list",
    )
    history_candles: int = Field(300, ge=250, le=5_000, description="Candles kept for computing, by pair")
