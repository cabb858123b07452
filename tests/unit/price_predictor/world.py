"""Real SQL stores in a temporary folder and a predictor, without a broker: rows written as to-feature-store writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from pricecast_core.messages import FeatureRowStored, Prediction
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import news_signals_group, technical_indicators_group
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.stores.models import TrainingRun, model_name
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_price_predictor import feature_view, model_selection, train
from pricecast_price_predictor.model import PriceModel
from pricecast_price_predictor.model_selection import Options
from pricecast_price_predictor.models.base import Sample
from pricecast_price_predictor.models.kinds import DEFAULT
from pricecast_price_predictor.serve import Predictor
from pricecast_price_predictor.tuning import Budget
from tests.contracts.predictions import whole_history

PAIR = "BTC/USD"
NAME = model_name("test", "btc-usd", 300)
INDICATORS = ("atr_10", "macd", "obv", "own_idea", "roc_6", "rsi_14", "sma_21", "volume_ema_10")
GROUP = technical_indicators_group("test", INDICATORS)


class Sent:
    """Stands where the Kafka publisher stands; what is published is asserted on real brokers elsewhere."""

    def __init__(self) -> None:
        self.messages: list[Prediction] = []

    def publish(self, _topic: Any, _key: str, message: Prediction) -> None:
        self.messages.append(message)

    def flush_patiently(self) -> None:
        """Nothing waits."""


class World:
    """Stores and a predictor that can be killed and started again."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.settings = PricePredictorSettings(
            **{"pipeline": "test", "pairs": [PAIR], "live": False, "training_min_rows": 500, **changes}
        )
        self.features = SqlFeatureStore(f"sqlite:///{folder}/features.db")
        self.registry = SqlModelRegistry(f"sqlite:///{folder}/models.db")
        self.store = SqlPredictionStore(f"sqlite:///{folder}/predictions.db")
        self.features.ensure(GROUP)
        self.features.ensure(news_signals_group("test"))
        self.sent = Sent()
        self.predictor = self.fresh()

    def fresh(self) -> Predictor:
        return Predictor(self.settings, self.features, self.registry, self.store)

    def write(self, rows: pl.DataFrame) -> list[FeatureRowStored]:
        self.features.write(GROUP, rows.to_dicts())
        return [
            FeatureRowStored(group="technical_indicators", key=row["pair"], event_time_ms=row["window_end_ms"])
            for row in rows.select("pair", "window_end_ms").to_dicts()
        ]

    def feed(self, rows: pl.DataFrame) -> None:
        self.predictor.take(self.write(rows))
        self.predictor.deliver(self.sent)  # type: ignore[arg-type]

    def train(self, skill: float | None = None, kind: str = DEFAULT) -> model_selection.Trained:
        """Trains and registers as the job does, as if `skill` had been measured where it is given."""
        spec = feature_view.spec_of(self.settings, self.features, PAIR)
        table = feature_view.read(self.settings, self.features, PAIR).table(spec)
        candle = self.settings.candle_seconds
        trained = model_selection.train(Sample(spec, table, 300 // candle), Options(Budget(0), kind=kind))
        if skill is not None:
            trained = replace(trained, scores=replace(trained.scores, distribution_skill=skill))
        train.register(
            self.registry, NAME, trained, candle_seconds=candle, simulated=False, seconds=1.0, trained_from_ms=1
        )
        return trained

    def history(self) -> list[Prediction]:
        found = whole_history(self.store, PAIR, limit=500, pipeline="test")
        return sorted(found, key=lambda one: one.feature_time_ms)

    def close(self) -> None:
        self.features.close()
        self.registry.close()
        self.store.close()


def changed(data: bytes, factor: float) -> bytes:
    """A model whose intervals are so many times as wide."""
    price_model = PriceModel.from_bytes(data)
    ends = tuple(factor * end for end in price_model.ends.values)
    return replace(price_model, ends=msgspec.structs.replace(price_model.ends, values=ends)).to_bytes()


def plant(one: World, factor: float) -> None:
    """Promotes a version that is another's, but for the width of its intervals."""
    version = one.registry.versions(NAME)[0]
    artifact = changed(one.registry.artifact(NAME, version.version), factor)
    run = TrainingRun(NAME, version.parameters, version.metrics, version.trained_through_ms, artifact)
    one.registry.promote(NAME, one.registry.register(run).version, "planted")
