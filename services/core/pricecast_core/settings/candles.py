"""Settings of the candles service."""

from __future__ import annotations

from pydantic import Field

from pricecast_core.settings.base import PairList, StreamSettings
from pricecast_core.values import CandleSeconds


class CandlesSettings(StreamSettings):
    """How trades become candles."""

    pairs: PairList = Field(min_length=1, description="Pairs expected; trades of others are dead-lettered")
    candle_seconds: CandleSeconds = Field(60, description="Length of a candle")
    grace_seconds: float = Field(
        0, ge=0, le=3600, description="How long a window stays open for late trades; a candle is that much later"
    )
    emit_open_candles: bool = Field(False, description="Also emit the candle while its window is open")
    max_gap_candles: int = Field(10_080, ge=0, description="Longest quiet time filled with flat candles, in candles")
