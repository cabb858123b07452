"""From a PricePipeline's spec to the processes that make it real. Pure: it knows neither Kubernetes nor processes.

The operator renders the plan as Deployments, Jobs and CronJobs; the local runtime starts it as processes. So what a
laptop runs is what the cluster runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pricecast_core import settings as s
from pricecast_core import topics
from pricecast_operator.api.base import SecretKeyRef, seconds
from pricecast_operator.api.pricepipeline import News, PricePipelineSpec, ServiceOverride

Env = Mapping[str, str | SecretKeyRef]

LEXICON = "lexicon-v1"
"""Model name of the word list, which needs no provider."""


class Backends(Protocol):
    """The servers a pipeline's processes use: the cluster's, or the embedded ones."""

    @property
    def kafka_brokers(self) -> str:
        """Bootstrap servers, host:port[,host:port]."""

    def features(self) -> Env:
        """Environment that gives access to the feature store."""

    def models(self) -> Env:
        """Environment that gives access to the model registry."""

    def predictions(self) -> Env:
        """Environment that gives access to the prediction store."""

    def news_cache(self) -> Env:
        """Environment that gives access to the cache of news signals."""


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """One process of a pipeline.

    Attributes:
        name: Name within the pipeline; also the key in `spec.services`.
        service: Which service it is: the command is `pricecast-<service>`, the image carries the same name.
        kind: `stream` runs for ever, `job` runs to its end, `schedule` runs to its end at the times of `schedule`.
        settings: Its settings, typed; `env` gives them as variables.
        args: Arguments of the command.
        access: Variables that give access to stores, as values or references to Secrets.
        scalable: True if several replicas share the work, up to the partitions.
        finite: True if a `stream` ends by itself, with exit code 0, when its source ends.
        optional: True if the price forecast goes on without it.
        schedule: Cron expression of a `schedule`.
        override: What the spec changes for this process.
    """

    name: str
    service: str
    kind: Literal["stream", "job", "schedule"]
    settings: s.ServiceSettings
    args: tuple[str, ...] = ()
    access: Env = field(default_factory=dict)
    scalable: bool = False
    finite: bool = False
    optional: bool = False
    schedule: str = ""
    override: ServiceOverride = field(default_factory=ServiceOverride)

    @property
    def env(self) -> Env:
        """All its variables but those that the runtime adds (ports, addresses, folders)."""
        return {**self.settings.to_env(), **self.access}

    @property
    def secrets(self) -> dict[str, SecretKeyRef]:
        """Those of its variables whose values are in Secrets."""
        return {name: value for name, value in self.access.items() if isinstance(value, SecretKeyRef)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pipeline needs, in the order in which data flows.

    Attributes:
        pipeline: Name of the pipeline.
        processes: Its processes.
        topics: Its topics, by full name.
    """

    pipeline: str
    processes: tuple[ServiceProcess, ...]
    topics: Mapping[str, topics.TopicSpec]

    def process(self, name: str) -> ServiceProcess:
        """Returns the process of that name."""
        return next(process for process in self.processes if process.name == name)


def plan(name: str, spec: PricePipelineSpec, backends: Backends, news_model: str = "") -> Plan:
    """Returns the processes and topics of a pipeline.

    Args:
        name: Name of the resource.
        spec: Its spec, valid.
        backends: The servers to use.
        news_model: The model that a completed FinetuneJob published, where `spec.news.signals` names one.
    """
    common: dict[str, Any] = {"pipeline": name, "kafka_brokers": backends.kafka_brokers}
    with s.from_values_alone():
        processes = _price_processes(spec, backends, common)
        if spec.news is not None:
            processes += _news_processes(spec.news, backends, common, news_model)
        processes += _predictor_processes(spec, backends, common, news_model)
    used = [topic for topic in topics.ALL if spec.news is not None or topic not in (topics.NEWS, topics.NEWS_SIGNALS)]
    return Plan(
        pipeline=name,
        processes=tuple(_with_override(process, spec) for process in processes),
        topics={topics.topic_name(name, topic): topic for topic in used},
    )


def prediction_api(backends: Backends, **settings: Any) -> ServiceProcess:
    """Returns the process that serves predictions: one for all pipelines of a store."""
    with s.from_values_alone():
        read = s.PredictionApiSettings(**settings)
    return ServiceProcess(
        name="prediction-api", service="prediction-api", kind="stream", settings=read, access=backends.predictions()
    )


def _with_override(process: ServiceProcess, spec: PricePipelineSpec) -> ServiceProcess:
    override = spec.services.get(process.name)
    if override is None:
        return process
    fields = {name: getattr(process, name) for name in ServiceProcess.__dataclass_fields__}
    return ServiceProcess(**{**fields, "override": override})


def _price_processes(spec: PricePipelineSpec, backends: Backends, common: dict[str, Any]) -> list[ServiceProcess]:
    source, replay = spec.source, spec.source.replay
    finite = replay is not None or source.mode == "Historical"
    trades: dict[str, Any] = {
        "pairs": spec.all_pairs,
        "source": source.kind.lower(),
        "mode": source.mode,
        "since": source.since,
        "candle_seconds": spec.candles.seconds,
    }
    if source.kind == "Kraken":
        trades |= {
            "kraken_rest_url": source.kraken.rest_url,
            "kraken_websocket": source.kraken.websocket,
            "kraken_websocket_url": source.kraken.websocket_url,
        }
    elif source.kind == "Simulated":
        trades |= {
            "simulation_seed": source.simulated.seed,
            "simulation_start_price": source.simulated.start_price,
            "simulation_trades_per_second": source.simulated.trades_per_second,
        }
    elif replay is not None:
        trades |= {
            "replay_files": [Path(file) for file in replay.files],
            "replay_format": replay.format,
            "replay_speed": replay.speed,
        }
    only_bars = replay is not None and replay.format == "bars"  # a bar is a closed candle: none need be made
    candles = ServiceProcess(
        name="candles",
        service="candles",
        kind="stream",
        settings=s.CandlesSettings(
            **common,
            pairs=spec.all_pairs,
            candle_seconds=spec.candles.seconds,
            grace_seconds=spec.candles.grace_seconds,
            emit_open_candles=spec.candles.emit_open,
        ),
        scalable=True,
    )
    return [
        ServiceProcess(
            name="trades",
            service="trades",
            kind="stream",
            settings=s.TradesSettings(**common, **trades),
            finite=finite,
        ),
        *([] if only_bars else [candles]),
        ServiceProcess(
            name="technical-indicators",
            service="technical-indicators",
            kind="stream",
            settings=s.TechnicalIndicatorsSettings(
                **common, candle_seconds=spec.candles.seconds, indicators=spec.indicators
            ),
            scalable=True,
        ),
        ServiceProcess(
            name="to-feature-store",
            service="to-feature-store",
            kind="stream",
            settings=s.ToFeatureStoreSettings(
                **common, feature_store=_store_kind(spec.storage.features.kind), group="technical_indicators"
            ),
            access=backends.features(),
            scalable=True,
        ),
    ]


def _news_processes(news: News, backends: Backends, common: dict[str, Any], news_model: str) -> list[ServiceProcess]:
    reader: dict[str, Any] = {"poll_seconds": news.poll_seconds, "coins": news.coins}
    access: dict[str, str | SecretKeyRef] = {}
    if news.crypto_panic is not None:
        reader |= {"source": "cryptopanic", "cryptopanic_url": news.crypto_panic.url}
        access["CRYPTOPANIC_API_KEY"] = news.crypto_panic.api_key_secret_ref
    elif news.rss is not None:
        reader |= {"source": "rss", "rss_urls": news.rss.urls}
    elif news.archive is not None:
        reader |= {"source": "archive", "archive": news.archive.location}
    signals = news.signals
    model = signal_model(news, news_model)
    extractor: dict[str, Any] = {"provider": signals.provider.lower(), "model": model}
    if model == LEXICON:  # until the FinetuneJob that is named has published its model
        extractor["provider"] = "lexicon"
    if news.coins:
        extractor["coins"] = news.coins
    if signals.url:
        extractor["ollama_url" if signals.provider == "Ollama" else "openai_url"] = signals.url
    signal_access: dict[str, str | SecretKeyRef] = dict(backends.news_cache())
    if signals.api_key_secret_ref is not None:
        signal_access["API_KEY"] = signals.api_key_secret_ref
    return [
        ServiceProcess(
            name="news",
            service="news",
            kind="stream",
            settings=s.NewsSettings(**common, **reader),
            access=access,
            finite=news.archive is not None,
            optional=True,
        ),
        ServiceProcess(
            name="news-signal",
            service="news-signal",
            kind="stream",
            settings=s.NewsSignalSettings(**common, **extractor),
            access=signal_access,
            scalable=True,
            optional=True,
        ),
        ServiceProcess(
            name="news-to-feature-store",
            service="to-feature-store",
            kind="stream",
            settings=s.ToFeatureStoreSettings(**common, group="news_signals"),
            access=backends.features(),
            scalable=True,
            optional=True,
        ),
    ]


def signal_model(news: News, published: str = "") -> str:
    """Returns the name of the model that reads the news: a fine-tuned one once it is published."""
    if news.signals.finetune_job and published:
        return published
    return news.signals.model or LEXICON


def _predictor_processes(
    spec: PricePipelineSpec, backends: Backends, common: dict[str, Any], news_model: str
) -> list[ServiceProcess]:
    settings = s.PricePredictorSettings(
        **common,
        feature_store=_store_kind(spec.storage.features.kind),
        model_registry=_store_kind(spec.storage.models.kind),
        pairs=spec.pairs,
        companion_pairs=spec.features.companion_pairs,
        candle_seconds=spec.candles.seconds,
        horizons_seconds=spec.prediction.horizons_seconds,
        simulated=spec.source.kind == "Simulated",
        live=spec.source.replay is None and spec.source.mode != "Historical",
        training_lookback_days=seconds(spec.training.lookback) / 86_400,
        training_min_rows=spec.training.min_rows,
        training_trials=spec.training.trials,
        training_max_seconds=spec.training.max_seconds,
        training_folds=spec.training.folds,
        training_threads=spec.training.threads,
        news_model=signal_model(spec.news, news_model) if spec.news is not None else "",
    )
    access = {**backends.features(), **backends.models(), **backends.predictions()}
    return [
        ServiceProcess(
            name="train", service="price-predictor", args=("train",), kind="job", settings=settings, access=access
        ),
        ServiceProcess(
            name="retrain",
            service="price-predictor",
            args=("train",),
            kind="schedule",
            schedule=spec.training.schedule,
            settings=settings,
            access=access,
        ),
        ServiceProcess(
            name="price-predictor",
            service="price-predictor",
            args=("serve",),
            kind="stream",
            settings=settings,
            access=access,
        ),
    ]


def _store_kind(kind: str) -> str:
    return kind.lower()
