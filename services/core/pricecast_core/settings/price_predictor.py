"""Settings of the price-predictor service: what is predicted, learned from what, judged how."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from pricecast_core.settings.base import HorizonList, PairList
from pricecast_core.settings.to_feature_store import FeatureStoreSettings
from pricecast_core.values import (
    DISTINCT,
    LEVELS,
    MODEL_KINDS,
    MOST_HORIZONS,
    MOST_KINDS,
    MOST_LEVELS,
    QUANTILES,
    CandleSeconds,
    LevelList,
    ModelKind,
)

FIRST_TRAINING_SHARE = 0.4
"""Share of the rows that only ever train in a walk-forward evaluation."""
LEAST_LEARNABLE = 50
"""Fewest rows with features and an outcome that anything is learned from."""
WARM_UP_ROWS = 90
"""Rows before the local volatility is known."""


def rows_to_learn(min_rows: int, horizon_seconds: int, candle_seconds: int) -> int:
    """Returns how many candles of a pair the model of a horizon takes: its first fold must have what to learn from.

    The rules of the PricePipeline say the same to the API server.
    """
    first_fold = WARM_UP_ROWS + LEAST_LEARNABLE + horizon_seconds // candle_seconds
    return max(min_rows, math.ceil(first_fold / FIRST_TRAINING_SHARE))


class PredictionStoreSettings(FeatureStoreSettings):
    """Where predictions are kept."""

    prediction_store: Literal["sql", "elasticsearch"] = Field("sql", description="Kind of prediction store")
    prediction_store_url: SecretStr = Field(
        SecretStr("sqlite:///.pricecast/predictions.db"),
        description="SQLAlchemy URL, or Elasticsearch's http(s)://HOST:PORT",
    )
    elasticsearch_api_key: SecretStr | None = Field(None, description="API key of Elasticsearch")


class PricePredictorSettings(PredictionStoreSettings):
    """What the model predicts and how it is trained."""

    pairs: PairList = Field(min_length=1, description="Pairs predicted")
    companion_pairs: PairList = Field(default_factory=list, description="Pairs whose features help to predict")
    candle_seconds: CandleSeconds = Field(60, description="Length of a candle")
    horizons_seconds: HorizonList = Field(
        default_factory=lambda: [300],
        min_length=1,
        max_length=MOST_HORIZONS,
        description="How far ahead to predict; multiples of the candle",
    )
    levels: LevelList = Field(
        default_factory=lambda: list(LEVELS),
        min_length=len(QUANTILES),
        max_length=MOST_LEVELS,
        description="Quantiles to forecast, 0.1, 0.5 and 0.9 among them",
    )
    simulated: bool = Field(False, description="True if the market is a simulation; every prediction says so")
    live: bool = Field(True, description="False in replays: the market's time then is the time of the newest row")

    model_registry: Literal["sql", "comet"] = Field("sql", description="Kind of model registry")
    model_registry_url: SecretStr = Field(
        SecretStr("sqlite:///.pricecast/models.db"), description="SQLAlchemy URL of runs and registered models"
    )
    comet_url: str = Field("https://www.comet.com", description="Address of Comet")
    comet_workspace: str = Field("", description="Workspace of Comet; empty means the account's default")
    comet_project: str = Field("pricecast", description="Project of Comet that trainings are experiments of")
    comet_api_key: SecretStr | None = Field(
        None, description="API key of Comet; without one, runs are archived for `pricecast models upload`"
    )
    comet_archive_dir: Path = Field(Path(".pricecast/comet"), description="Folder of archives, without an API key")

    training_lookback_days: float = Field(30, gt=0, description="History to learn from")
    training_min_rows: int = Field(2_000, ge=200, le=10_000_000, description="Fewest feature rows to train on, by pair")
    training_wait: bool = Field(True, description="Wait for that many rows; else exit with code 75")
    training_trials: int = Field(
        10, ge=0, le=1_000, description="Trials of the hyper-parameter search; 0 takes defaults"
    )
    training_max_seconds: float = Field(
        300, ge=1, le=86_400, description="Most work for the search of a model, as seconds of an ordinary core"
    )
    training_folds: int = Field(4, ge=2, le=20, description="Folds of the walk-forward evaluation")
    training_threads: int = Field(1, ge=1, le=128, description="Threads of XGBoost while training")
    training_seed: int = Field(7, ge=0, description="Seed of everything random in training")

    model_kinds: Annotated[list[ModelKind], DISTINCT] = Field(
        default_factory=lambda: list(MODEL_KINDS),
        min_length=1,
        max_length=MOST_KINDS,
        description="Model kinds: the wanted one, and rivals that take its place where they are better beyond doubt",
    )
    part: int = Field(
        1, ge=1, le=1_000, description="Which of the processes among which the pipeline's pairs are shared out"
    )
    pinned_version: int | None = Field(
        None, ge=1, le=1_000_000, description="Version of each model to serve instead of the promoted one"
    )
    news_model: str = Field("", description="Model name whose news signals are features; empty uses no news")
    retrain_min_scored: int = Field(
        200, ge=10, description="Scored predictions over which a skill below zero asks for an early retrain"
    )

    rollback_min_scored: int = Field(
        200, ge=10, le=1_000, description="Outcomes after which a version that served before may serve again"
    )
    rollback_margin: float = Field(
        0.005, ge=0, le=1, description="By how much of skill it must then be ahead, with a 95% interval above zero"
    )

    promotion_min_scored: int = Field(
        200,
        ge=10,
        le=1_000,
        description="Outcomes after which a version that was trained and not promoted may take the place of the one that serves",
    )
    promotion_margin: float = Field(
        0.005, ge=0, le=1, description="By how much of skill it must then be ahead, with a 95% interval above zero"
    )
    promotion_maximum_age_days: float = Field(
        30,
        gt=0,
        le=1_000_000,
        description="Age of what a version knows from which one that is no worse takes its place, and a training is asked for",
    )
    abstain_distance: float = Field(
        3.0,
        ge=1,
        le=1_000,
        description="Distance from the training, in units of what one of its rows in a thousand has, beyond which a model "
        "abstains and the naive forecast stands in",
    )

    def rows_to_learn(self, horizon_seconds: int) -> int:
        """Returns how many candles of a pair the model of a horizon takes."""
        return rows_to_learn(self.training_min_rows, horizon_seconds, self.candle_seconds)

    @property
    def addresses(self) -> list[str]:
        """Where Comet is, beside the feature store."""
        comet = [self.comet_url] if self.model_registry == "comet" else []
        return [*super().addresses, *comet]
