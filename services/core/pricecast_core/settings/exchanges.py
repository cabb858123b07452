"""The exchanges that trades can come from: for each its name and its settings. The one place that registers them.

From `EXCHANGES` follow `spec.source.kind` and the settings block beside it, the settings of the trades service
(`KRAKEN_REST_URL`, `COINBASE_REST_URL`), the hosts that the network policy opens, and the folder of
`pricecast_trades.exchanges` that speaks the exchange's protocol. docs/extending/exchange.md tells how to add one.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from pricecast_core.settings.base import StreamSettings
from pricecast_core.values import HttpUrl, OptionalWebsocketUrl


class ExchangeSettings(BaseModel):
    """What every exchange can be told.

    Attributes:
        title: What people call it.
        internal: Settings that the spec of a pipeline leaves at their defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: ClassVar[str]
    internal: ClassVar[frozenset[str]] = frozenset({"requests_per_second", "silence_seconds"})

    rest_url: HttpUrl = Field(description="Base URL of the REST API.")
    websocket_url: OptionalWebsocketUrl = Field("", description="WebSocket URL; empty means the exchange's own.")
    requests_per_second: float = Field(gt=0, description="REST calls a second, within the exchange's public limit.")
    silence_seconds: float = Field(
        15,
        ge=1,
        description="A WebSocket without any message for so long is replaced; the exchange sends one every second.",
    )

    @property
    def stream_url(self) -> str:
        """The WebSocket URL in force."""
        raise NotImplementedError

    @property
    def urls(self) -> tuple[str, ...]:
        """Whom the trades service talks to."""
        return self.rest_url, self.stream_url


class KrakenSettings(ExchangeSettings):
    """How Kraken is reached."""

    title: ClassVar[str] = "Kraken"

    websocket: Literal["v2", "v1"] = Field("v2", description="WebSocket API version; v2 carries trade ids.")
    rest_url: HttpUrl = Field("https://api.kraken.com", description="Base URL of the REST API.")
    requests_per_second: float = Field(1.0, gt=0, description="REST calls a second, within Kraken's public limit.")

    @property
    def stream_url(self) -> str:
        """The WebSocket URL in force."""
        return self.websocket_url or {"v2": "wss://ws.kraken.com/v2", "v1": "wss://ws.kraken.com"}[self.websocket]


class CoinbaseSettings(ExchangeSettings):
    """How Coinbase Exchange is reached."""

    title: ClassVar[str] = "Coinbase"

    rest_url: HttpUrl = Field("https://api.exchange.coinbase.com", description="Base URL of the REST API.")
    requests_per_second: float = Field(5.0, gt=0, description="REST calls a second, within Coinbase's public limit.")

    @property
    def stream_url(self) -> str:
        """The WebSocket URL in force."""
        return self.websocket_url or "wss://ws-feed.exchange.coinbase.com"


EXCHANGES: dict[str, type[ExchangeSettings]] = {"kraken": KrakenSettings, "coinbase": CoinbaseSettings}
"""The exchanges, by the name of their folder in `pricecast_trades.exchanges`."""


def _variables() -> dict[str, Any]:
    """Returns the settings of all exchanges as fields of one class, each behind its exchange's name."""
    return {
        f"{name}_{field}": (info.annotation, info)
        for name, kind in EXCHANGES.items()
        for field, info in kind.model_fields.items()
    }


EveryExchangeSettings: type[StreamSettings] = create_model(
    "EveryExchangeSettings",
    __base__=StreamSettings,
    __doc__="How each exchange is reached.",
    __module__=__name__,
    **_variables(),
)
