"""`spec.source` of a pipeline: where trades come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model, model_validator

from pricecast_core.settings import TradesSettings
from pricecast_core.settings.exchanges import EXCHANGES, ExchangeSettings
from pricecast_core.values import MOST_COMPANIONS, MOST_PAIRS
from pricecast_resources.base import Duration, Model, of_setting, rule, rules


class ReplaySource(Model):
    """Files to read instead of an exchange."""

    files: list[Annotated[str, Field(min_length=1, max_length=1024)]] = Field(
        min_length=1,
        max_length=MOST_PAIRS + MOST_COMPANIONS,
        description="Paths of Kraken CSV files (trades, or OHLCVT bars): one for each pair, in the order of the pairs.",
    )
    format: Literal["auto", "trades", "bars"] = of_setting(
        TradesSettings, "replay_format", "What the files hold; auto looks."
    )
    speed: float = of_setting(TradesSettings, "replay_speed", "Times real time; 0 is as fast as it goes.")
    volume_claim: str = Field(
        "", max_length=253, description="PersistentVolumeClaim that holds the files, mounted at /data (cluster only)."
    )
    config_map: str = Field(
        "", max_length=253, description="ConfigMap that holds small files, mounted at /data (cluster only)."
    )


class SimulatedSource(Model):
    """A seeded market that no one trades on. Every prediction made from it says that it is simulated."""

    seed: int = of_setting(TradesSettings, "simulation_seed", "Seed: the same seed gives the same trades.")
    start_price: float = of_setting(TradesSettings, "simulation_start_price", "First price.")
    trades_per_second: float = of_setting(
        TradesSettings, "simulation_trades_per_second", "Mean number of trades a second."
    )


if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[(*(exchange.title for exchange in EXCHANGES.values()), "Replay", "Simulated")]


class _Market(Model):
    """What is said of every market."""

    kind: Kind = Field("Kraken", description="Kind of market.")
    mode: Literal["Live", "Historical", "BackfillThenLive"] = of_setting(
        TradesSettings, "mode", "New trades only, a finite past only, or the past and then what is new."
    )
    since: Duration = of_setting(TradesSettings, "since", "How far back the past goes.")


def _block(exchange: type[ExchangeSettings]) -> type[Model]:
    """Returns the part of the spec that holds an exchange's settings."""
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in exchange.model_fields.items() if name not in exchange.internal
    }
    return create_model(f"{exchange.title}Source", __base__=Model, __doc__=exchange.__doc__, **fields)


def _blocks() -> dict[str, Any]:
    return {
        name: (_block(exchange) | None, Field(None, description=f"Settings of kind {exchange.title}."))
        for name, exchange in EXCHANGES.items()
    }


if TYPE_CHECKING:

    class _Exchanges(_Market):
        pass
else:
    _Exchanges = create_model("_Exchanges", __base__=_Market, __module__=__name__, **_blocks())


class Source(_Exchanges):
    """Where trades come from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.kind == 'Replay') == has(self.replay)",
                "must be given if, and only if, kind is Replay",
                "replay",
            ),
            rule(
                "self.kind == oldSelf.kind",
                "is immutable: trades of two markets would mix in one history; make another pipeline",
                "kind",
            ),
        )
    )

    replay: ReplaySource | None = Field(None, description="Settings of kind Replay.")
    simulated: SimulatedSource = Field(default_factory=SimulatedSource, description="Settings of kind Simulated.")

    @property
    def exchange(self) -> Model | None:
        """The settings given of the exchange that trades come from."""
        settings: Model | None = getattr(self, self.kind.lower()) if self.kind.lower() in EXCHANGES else None
        return settings

    @model_validator(mode="after")
    def _replay_is_described(self) -> Source:
        if (self.kind == "Replay") != (self.replay is not None):
            raise ValueError("replay: must be given if, and only if, kind is Replay")
        return self
