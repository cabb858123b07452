"""Settings of the trades service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from pricecast_core.settings.base import PairList
from pricecast_core.settings.exchanges import EXCHANGES, ExchangeSettings
from pricecast_core.values import CandleSeconds

if TYPE_CHECKING:
    from pricecast_core.settings.base import StreamSettings as EveryExchangeSettings

    Market = str
else:
    from pricecast_core.settings.exchanges import EveryExchangeSettings

    Market = Literal[(*EXCHANGES, "replay", "simulated")]


class TradesSettings(EveryExchangeSettings):
    """Where trades come from."""

    pairs: PairList = Field(min_length=1, description="Pairs to read, such as BTC/USD")
    source: Market = Field("kraken", description="Kind of market")
    mode: Literal["Live", "Historical", "BackfillThenLive"] = Field(
        "BackfillThenLive", description="Only new trades, only a finite past, or the past and then what is new"
    )
    since: str = Field("30d", description="Where the past starts: ISO 8601 time, or an age such as 7d, 12h")
    until: str = Field("", description="Where a Historical read ends: ISO 8601 time; empty means now")
    candle_seconds: CandleSeconds = Field(
        60, description="Length of a candle: of a bar in a replayed OHLCVT file, and when a quiet pair's candle ends"
    )

    grace_seconds: float = Field(
        0, ge=0, le=3600, description="How long candles wait for late trades: a quiet one ends that much later"
    )
    max_gap_candles: int = Field(
        10_080, ge=0, description="Longest quiet time filled with flat candles while replaying bars, in candles"
    )

    replay_files: list[Path] = Field(
        default_factory=list,
        description="Kraken CSV files to replay, one a pair in the order of the pairs, or several of one pair",
    )
    replay_format: Literal["auto", "trades", "bars"] = Field(
        "auto", description="trades: timestamp,price,volume; bars: timestamp,open,high,low,close,volume,trades"
    )
    replay_speed: float = Field(0, ge=0, le=1_000_000, description="Times real time; 0 replays as fast as it goes")

    simulation_seed: int = Field(7, ge=0, le=2**53, description="Seed of the simulated market: same seed, same trades")
    simulation_start_price: float = Field(50_000, gt=0, description="First price of the simulated market")
    simulation_trades_per_second: float = Field(2, ge=0.001, le=100_000, description="Mean number of trades a second")

    @model_validator(mode="after")
    def _replay_has_files(self) -> TradesSettings:
        if self.source == "replay" and not self.replay_files:
            raise ValueError("replay_files: is empty; give at least one CSV file to replay")
        return self

    @property
    def addresses(self) -> list[str]:
        """URLs of the exchange."""
        return list(self.exchange.urls) if self.exchange is not None else []

    @property
    def exchange(self) -> ExchangeSettings | None:
        """The settings of the exchange that trades come from; None where they come from files or a simulation."""
        kind = EXCHANGES.get(self.source)
        if kind is None:
            return None
        return kind(**{name: getattr(self, f"{self.source}_{name}") for name in kind.model_fields})
