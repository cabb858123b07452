"""The `PricePipeline` resource: what a person declares."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from pricecast_core import services
from pricecast_core.settings import CandlesSettings, PricePredictorSettings
from pricecast_core.settings.price_predictor import (
    FIRST_TRAINING_SHARE,
    LEAST_LEARNABLE,
    WARM_UP_ROWS,
    rows_to_learn,
)
from pricecast_core.values import (
    DISTINCT,
    MOST_COMPANIONS,
    MOST_HORIZONS,
    MOST_KINDS,
    MOST_LEVELS,
    MOST_PAIRS,
    QUANTILES,
    CandleSeconds,
    Horizon,
    LevelList,
    ModelKind,
)
from pricecast_resources.base import (
    SET,
    Duration,
    Model,
    Resources,
    of_setting,
    rule,
    rules,
    seconds,
)
from pricecast_resources.news import News
from pricecast_resources.pods import PodSettings
from pricecast_resources.schedule import Schedule
from pricecast_resources.sources import Source
from pricecast_resources.storage import Storage, Topics
from pricecast_resources.values import Indicators, Pairs

PROCESSES = tuple(service.name for service in services.of_pipelines())
"""Everything that a pipeline can run; the keys of `spec.services`."""
SHARING = tuple(service.name for service in services.of_pipelines() if service.scalable)
"""Those of which several replicas share the work."""
_PARTITIONS_FOR_PAIRS = 12
"""Up to so many pairs get a partition each by default."""


class Candles(Model):
    """How trades become candles."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.seconds == oldSelf.seconds",
                "is immutable: candles of two lengths would mix in one history; make another pipeline",
                "seconds",
            )
        )
    )

    seconds: CandleSeconds = of_setting(CandlesSettings, "candle_seconds", "Length of a candle.")
    grace_seconds: float = of_setting(CandlesSettings, "grace_seconds", "How long a candle waits for late trades.")
    emit_open: bool = of_setting(CandlesSettings, "emit_open_candles", "Also emit a candle while it is open.")


class Features(Model):
    """What the model sees besides the pair's own indicators."""

    companion_pairs: Pairs = Field(
        default_factory=list,
        max_length=MOST_COMPANIONS,
        description="Pairs whose indicators help to predict; they are ingested too.",
    )


class Training(Model):
    """When and how the model is trained."""

    schedule: Schedule = Field(
        "0 */6 * * *", description="Cron expression of five fields, UTC, of the regular training."
    )
    lookback: Duration = Field("30d", description="History to learn from.")
    min_rows: int = of_setting(PricePredictorSettings, "training_min_rows", "Fewest candles to train on, by pair.")
    trials: int = of_setting(PricePredictorSettings, "training_trials", "Trials of the hyper-parameter search.")
    max_seconds: int = of_setting(
        PricePredictorSettings,
        "training_max_seconds",
        "Most work for the search of one model, as seconds of an ordinary core: reckoned, so that every machine searches alike.",
    )
    folds: int = of_setting(PricePredictorSettings, "training_folds", "Folds of the walk-forward evaluation.")
    threads: int = of_setting(PricePredictorSettings, "training_threads", "Threads of the training.")


class Prediction(Model):
    """What is predicted."""

    horizons_seconds: Annotated[list[Horizon], DISTINCT] = of_setting(
        PricePredictorSettings,
        "horizons_seconds",
        "How far ahead; multiples of the candle.",
        min_length=1,
        max_length=MOST_HORIZONS,
        json_schema_extra=SET,
    )
    levels: LevelList = of_setting(
        PricePredictorSettings,
        "levels",
        "Quantiles to forecast, ascending, such as 0.05 for the price that it falls below once in twenty times. 0.1, 0.5 and "
        "0.9 must be among them: the ends of the 80% interval and the median.",
        min_length=len(QUANTILES),
        max_length=MOST_LEVELS,
        json_schema_extra=SET
        | rules(
            rule(
                " && ".join(f"{level} in self" for level in QUANTILES),
                "0.1, 0.5 and 0.9 must be among them: the 80% interval's ends and the median; add what is missing",
            )
        ),
    )


class Rollback(Model):
    """When the version that served before serves again."""

    min_scored: int = of_setting(
        PricePredictorSettings, "rollback_min_scored", "Outcomes that both have forecast before they are compared."
    )
    margin: float = of_setting(
        PricePredictorSettings,
        "rollback_margin",
        "By how much of skill it must be ahead: 0.005 is half a point. The 95% interval of the lead must be above zero, too.",
    )


class Promotion(Model):
    """When a trained version that was not promoted, and forecasts in shadow, takes the place of the one that serves."""

    min_scored: int = of_setting(
        PricePredictorSettings, "promotion_min_scored", "Outcomes that both have forecast before they are compared."
    )
    margin: float = of_setting(
        PricePredictorSettings,
        "promotion_margin",
        "By how much of skill it must be ahead: 0.005 is half a point. The 95% interval of the lead must be above zero, too.",
    )
    maximum_age: Duration = Field(
        "30d",
        description="Age of what the version that serves knows from which a challenger that is no worse takes its place, "
        "and a training is asked for.",
    )


class Models(Model):
    """What models are made, and which version of them serves."""

    kinds: Annotated[list[ModelKind], DISTINCT] = of_setting(
        PricePredictorSettings,
        "model_kinds",
        "Model kinds that a training evaluates on the same rows: the wanted one first, then rivals; one that is better beyond "
        "doubt takes its place.",
        min_length=1,
        max_length=MOST_KINDS,
        json_schema_extra=SET,
    )
    pinned: int | None = of_setting(
        PricePredictorSettings,
        "pinned_version",
        "Version that serves instead of the promoted one, for each pair and horizon that has it: a way back to an earlier "
        "model. Training goes on; without this field, what it promotes serves.",
    )
    rollback: Rollback = Field(
        default_factory=Rollback, description="When a newly promoted version gives way to the one before."
    )
    promotion: Promotion = Field(
        default_factory=Promotion, description="When a challenger takes the place of the version that serves."
    )
    abstain_distance: float = of_setting(
        PricePredictorSettings,
        "abstain_distance",
        "How far a market may be from what the model learned from, in units of what one of those rows in a thousand has, "
        "before the model abstains and the naive forecast stands in.",
    )


class Autoscaling(Model):
    """How many replicas a service that shares work gets, by how far it is behind."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.minReplicas <= self.maxReplicas", "is above maxReplicas; lower it", "minReplicas")
        )
    )

    min_replicas: int = Field(1, ge=1, le=1_000, description="Fewest replicas.")
    max_replicas: int = Field(ge=1, le=1_000, description="Most replicas; no more than there are partitions run.")
    lag_threshold: int = Field(
        1_000, ge=1, le=1_000_000_000, description="Unread messages for each replica, where KEDA is installed."
    )
    cpu_percent: int = Field(
        80, ge=1, le=1_000, description="CPU in percent of the request, where KEDA is not: a HorizontalPodAutoscaler."
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError("minReplicas: is above maxReplicas; lower it")
        return self


class ServiceOverride(PodSettings):
    """Changes to one service's Deployment, on top of `spec.pods`."""

    autoscaling: Autoscaling | None = Field(
        None, description="Scales the service by itself; for those that share work. Takes the place of replicas."
    )
    replicas: int | None = Field(None, ge=0, le=1_000, description="Replicas; up to the partitions they share work.")
    resources: Resources = Field(default_factory=Resources, description="CPU and memory.")
    image: str = Field(
        "", max_length=512, description="Image instead of the operator's own for this service, with a tag or a digest."
    )


_FIRST_FOLD_ROWS = WARM_UP_ROWS + LEAST_LEARNABLE
_SHARE = Fraction(str(FIRST_TRAINING_SHARE))
_LOOKBACK_SECONDS = (
    "int(self.training.lookback.substring(0, size(self.training.lookback) - 1))"
    " * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}"
    "[self.training.lookback.substring(size(self.training.lookback) - 1)]"
)


class PricePipelineSpec(Model):
    """A price prediction, from trades to a scored forecast."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.prediction.horizonsSeconds.all(h, h >= self.candles.seconds && h % self.candles.seconds == 0)",
                "each horizon must be a multiple of candles.seconds",
                "prediction.horizonsSeconds",
            ),
            rule(
                "!has(self.source.replay) || size(self.source.replay.files) % (size(self.pairs) +"
                " (has(self.features.companionPairs)"
                " ? size(self.features.companionPairs.filter(p, !(p in self.pairs))) : 0)) == 0",
                "give one file for each of pairs and features.companionPairs",
                "source.replay.files",
            ),
            rule(
                f"{_LOOKBACK_SECONDS} >= self.training.minRows * self.candles.seconds",
                "holds fewer than training.minRows candles; look back further, or ask for fewer rows",
                "training.lookback",
            ),
            rule(
                f"self.prediction.horizonsSeconds.all(h, {_LOOKBACK_SECONDS} >= self.candles.seconds * ((({_FIRST_FOLD_ROWS}"
                f" + h / self.candles.seconds) * {_SHARE.denominator} + {_SHARE.numerator - 1}) / {_SHARE.numerator}))",
                f"holds fewer candles than a model is trained on, ({_FIRST_FOLD_ROWS} + horizon / candles.seconds) / "
                f"{FIRST_TRAINING_SHARE} of them; look back further, or forecast less far ahead",
                "training.lookback",
            ),
            rule(
                f"!has(self.services) || self.services.all(name, name in {list(PROCESSES)})",
                f"unknown service; the names are {', '.join(PROCESSES)}",
                "services",
            ),
            rule(
                f"!has(self.services) || self.services.all(name, name in {list(SHARING)}"
                " || !has(self.services[name].autoscaling))",
                f"autoscaling is for the services that share work: {', '.join(SHARING)}",
                "services",
            ),
        )
    )

    pairs: Pairs = Field(min_length=1, max_length=MOST_PAIRS, description="Pairs to predict; 64 share a predictor.")
    source: Source = Field(default_factory=Source, description="Where trades come from.")
    candles: Candles = Field(default_factory=Candles, description="How trades become candles.")
    indicators: Indicators = Field(
        default_factory=list, description="Indicators, such as rsi(14); empty means the default list."
    )
    news: News | None = Field(None, description="News; none means prices alone.")
    features: Features = Field(default_factory=Features, description="What the model sees.")
    training: Training = Field(default_factory=Training, description="When and how the model is trained.")
    prediction: Prediction = Field(default_factory=Prediction, description="What is predicted.")
    models: Models = Field(default_factory=Models, description="Which version of a model serves.")
    storage: Storage = Field(default_factory=Storage, description="Servers that the pipeline uses.")
    topics: Topics = Field(default_factory=Topics, description="The pipeline's topics.")
    pods: PodSettings = Field(default_factory=PodSettings, description="What is asked of all pods of the pipeline.")
    services: dict[str, ServiceOverride] = Field(
        default_factory=dict,
        max_length=16,
        description="Changes by service: trades, candles, technical-indicators and so on.",
    )
    replicas: int = Field(
        1, ge=0, le=1_000, description="Replicas of the services that share work; kubectl scale sets it."
    )
    version: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$",
        max_length=128,
        description="Tag of the images to stay on; empty follows the operator.",
    )
    suspend: bool = Field(False, description="Stops every process and keeps all state.")

    @model_validator(mode="after")
    def _horizons_fit_candles(self) -> PricePipelineSpec:
        for horizon in self.prediction.horizons_seconds:
            if horizon < self.candles.seconds or horizon % self.candles.seconds:
                raise ValueError(
                    f"prediction.horizonsSeconds: {horizon} is not a multiple of candles.seconds ({self.candles.seconds})"
                )
        if self.source.replay is not None and len(self.source.replay.files) % len(self.all_pairs):
            raise ValueError(
                f"source.replay.files: {len(self.source.replay.files)} files for {len(self.all_pairs)} pairs; give one for each"
            )
        for service in self.services:
            if service not in PROCESSES:
                raise ValueError(f"services: {service!r} is unknown; the names are {', '.join(PROCESSES)}")
        if any(each.autoscaling is not None and name not in SHARING for name, each in self.services.items()):
            raise ValueError(f"services: autoscaling is for the services that share work: {', '.join(SHARING)}")
        for horizon in self.prediction.horizons_seconds:
            needed = rows_to_learn(self.training.min_rows, horizon, self.candles.seconds)
            if seconds(self.training.lookback) < needed * self.candles.seconds:
                raise ValueError(
                    f"training.lookback: {self.training.lookback} holds fewer candles of {self.candles.seconds} s than the "
                    f"{needed} that a model of {horizon} s ahead is trained on (training.minRows is "
                    f"{self.training.min_rows}); look back further, or forecast less far ahead"
                )
        return self

    @property
    def partitions(self) -> int:
        """Partitions of each topic: as many as are asked for, else what scaling needs."""
        if self.topics.partitions is not None:
            return self.topics.partitions
        most = [self.replicas, *(self.wanted_replicas(name)[1] for name in self.services if name in SHARING)]
        return max(1, min(len(self.all_pairs), _PARTITIONS_FOR_PAIRS), *most)

    def with_partitions(self, count: int) -> PricePipelineSpec:
        """Returns the spec with the partitions that its topics have."""
        return self.model_copy(update={"topics": self.topics.model_copy(update={"partitions": count})})

    def wanted_replicas(self, service: str) -> tuple[int, int]:
        """Returns the fewest and the most replicas that a service which shares work is to have."""
        override = self.services.get(service, ServiceOverride())
        if override.autoscaling is not None:
            return override.autoscaling.min_replicas, override.autoscaling.max_replicas
        wanted = self.replicas if override.replicas is None else override.replicas
        return wanted, wanted

    @property
    def all_pairs(self) -> list[str]:
        """The pairs to ingest: those predicted and their companions."""
        return list(dict.fromkeys([*self.pairs, *self.features.companion_pairs]))
