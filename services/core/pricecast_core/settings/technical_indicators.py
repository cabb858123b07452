"""Settings of the technical-indicators service."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from pricecast_core.errors import SettingsError
from pricecast_core.indicators import HISTORY, LONGEST_HISTORY, candles_needed, choose
from pricecast_core.settings.base import StreamSettings
from pricecast_core.values import CandleSeconds


def _history_of_indicators(given: dict[str, Any]) -> int:
    return max(HISTORY, candles_needed(choose(given.get("indicators", []))))


class TechnicalIndicatorsSettings(StreamSettings):
    """Which indicators are computed, over how many candles."""

    candle_seconds: CandleSeconds = Field(60, description="Length of a candle")
    indicators: list[str] = Field(
        default_factory=list,
        description="Indicators by name and periods, such as rsi(14),macd(10,24,9); empty means the default list",
    )
    history_candles: int = Field(
        default_factory=_history_of_indicators,
        ge=250,
        le=LONGEST_HISTORY,
        description="Candles kept for computing, by pair; without it, 300 or as many as the indicators need",
    )

    @field_validator("indicators")
    @classmethod
    def _can_be_computed(cls, value: list[str]) -> list[str]:
        try:
            choose(value)
        except SettingsError as error:
            raise ValueError(str(error).removeprefix("indicators: ")) from error
        return value

    @model_validator(mode="after")
    def _history_is_long_enough(self) -> TechnicalIndicatorsSettings:
        need = candles_needed(choose(self.indicators))
        if need > self.history_candles:
            raise ValueError(
                f"history_candles: {self.history_candles} is too few for these indicators, which need {need}; "
                f"set it to {need} or more, or leave it out"
            )
        return self
