"""From a PricePipeline's spec to the processes that make it real. Pure: it knows neither Kubernetes nor processes.

The operator renders the plan as Deployments, Jobs and CronJobs; the local runtime starts it as processes. So what a
laptop runs is what the cluster runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from pricecast_core import services, topics
from pricecast_core import settings as s
from pricecast_core.news.lexicon import MODEL_NAME as LEXICON
from pricecast_core.services import Service
from pricecast_core.settings.news_signal import ENCODER
from pricecast_resources.base import Model, SecretKeyRef, seconds
from pricecast_resources.news import News
from pricecast_resources.pricepipeline import PricePipelineSpec, ServiceOverride
from pricecast_resources.sources import Source
from pricecast_resources.storage import KafkaStorage

PAIRS_EACH = 64
"""So many pairs one predictor and one training take; further ones get processes of their own, in the order of the spec:
a pair that is added at the end moves none of the others."""
Access = Mapping[str, str | SecretKeyRef]
"""Variables of secret settings, which are no part of a document: values, or references to Secrets."""


class Backends(Protocol):
    """The servers a pipeline's processes use: the cluster's, or the embedded ones."""

    @property
    def kafka(self) -> KafkaStorage:
        """Kafka, and where its credentials are."""

    @property
    def prediction_store(self) -> Literal["sql", "elasticsearch"]:
        """Kind of the prediction store."""

    def features(self) -> Access:
        """Variables that give access to the feature store."""

    def models(self) -> Access:
        """Variables that give access to the model registry."""

    def predictions(self) -> Access:
        """Variables that give access to the prediction store."""

    def news_cache(self) -> Access:
        """Variables that give access to the cache of news signals."""


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """One process of a pipeline.

    Attributes:
        service: Its row in the table of services; of one of several that share the pairs, the row of that part.
        settings: Its settings, typed; their `document` is what it reads.
        access: Its secret settings, as variables.
        finite: True if a `stream` ends by itself, with exit code 0, when its source ends.
        schedule: Cron expression of a `schedule`.
        part: Which of those that share the pairs it is.
        override: What the spec changes for this process.
    """

    service: Service
    settings: s.ServiceSettings
    access: Access = field(default_factory=dict)
    finite: bool = False
    schedule: str = ""
    part: int = 1
    override: ServiceOverride = field(default_factory=ServiceOverride)

    @property
    def name(self) -> str:
        """Name within the pipeline."""
        return self.service.name

    @property
    def declared(self) -> str:
        """The key in `spec.services`: of all that share the pairs, the name of the first."""
        return self.service.name if self.part == 1 else self.service.name.removesuffix(f"-{self.part}")

    @property
    def kind(self) -> Literal["stream", "job", "schedule"]:
        """Whether it runs for ever, to its end, or to its end at the times of `schedule`."""
        return self.service.kind

    @property
    def secrets(self) -> dict[str, SecretKeyRef]:
        """Those of its variables whose values are in Secrets."""
        return {name: value for name, value in self.access.items() if isinstance(value, SecretKeyRef)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pipeline needs, in the order in which data flows.

    Attributes:
        pipeline: Id of the pipeline.
        processes: Its processes.
        topics: Its topics, by full name.
    """

    pipeline: str
    processes: tuple[ServiceProcess, ...]
    topics: Mapping[str, topics.TopicSpec]

    def process(self, name: str) -> ServiceProcess:
        """Returns the process of that name."""
        return next(process for process in self.processes if process.name == name)


def plan(pipeline: str, spec: PricePipelineSpec, backends: Backends, news_model: str = "") -> Plan:
    """Returns the processes and topics of a pipeline.

    Args:
        pipeline: Id of the pipeline.
        spec: Its spec, valid.
        backends: The servers to use.
        news_model: The model that a completed FinetuneJob published, where `spec.news.signals` names one.
    """
    common: dict[str, Any] = {"pipeline": pipeline, **backends.kafka.settings}
    processes = _price_processes(spec, backends, common)
    if spec.news is not None:
        processes += _news_processes(spec, spec.news, backends, common, news_model)
    processes += _predictor_processes(spec, backends, common, news_model)
    used = services.topics_of(process.service for process in processes)
    return Plan(
        pipeline=pipeline,
        processes=tuple(
            _with_override(replace(process, access={**process.access, **backends.kafka.secrets}), spec)
            for process in processes
        ),
        topics={topics.topic_name(pipeline, topic): topic for topic in used},
    )


def prediction_api(backends: Backends, **settings: Any) -> ServiceProcess:
    """Returns the process that serves predictions: one for all pipelines of a store."""
    read = s.PredictionApiSettings(**settings, prediction_store=backends.prediction_store)
    access = {**backends.features(), **backends.models(), **backends.predictions()}
    return ServiceProcess(services.PREDICTION_API, read, access)


def _with_override(process: ServiceProcess, spec: PricePipelineSpec) -> ServiceProcess:
    override = spec.services.get(process.declared)
    if override is None:
        return process
    return replace(process, override=override)


def _prefixed(prefix: str, model: Model, *, leave_out: Set[str] = frozenset()) -> dict[str, Any]:
    """Returns the fields of a part of the spec as the settings of the service that they are for are called."""
    return {f"{prefix}_{name}": value for name, value in model.model_dump().items() if name not in leave_out}


def _price_processes(spec: PricePipelineSpec, backends: Backends, common: dict[str, Any]) -> list[ServiceProcess]:
    replay, seconds_each = spec.source.replay, spec.candles.seconds
    trades = s.TradesSettings(
        **common,
        pairs=spec.all_pairs,
        source=spec.source.kind.lower(),
        mode=spec.source.mode,
        since=spec.source.since,
        candle_seconds=seconds_each,
        grace_seconds=spec.candles.grace_seconds,
        **_market(spec.source),
    )
    candles = s.CandlesSettings(
        **common,
        pairs=spec.all_pairs,
        candle_seconds=seconds_each,
        grace_seconds=spec.candles.grace_seconds,
        emit_open_candles=spec.candles.emit_open,
    )
    indicators = s.TechnicalIndicatorsSettings(**common, candle_seconds=seconds_each, indicators=spec.indicators)
    only_bars = replay is not None and replay.format == "bars"  # a bar is a closed candle: none need be made
    return [
        ServiceProcess(services.TRADES, trades, finite=replay is not None or spec.source.mode == "Historical"),
        *([] if only_bars else [ServiceProcess(services.CANDLES, candles)]),
        ServiceProcess(services.TECHNICAL_INDICATORS, indicators),
        _to_feature_store(services.TO_FEATURE_STORE, "technical_indicators", spec, backends, common),
    ]


def _market(source: Source) -> dict[str, Any]:
    """Returns the settings of the kind of market that trades come from."""
    if source.replay is not None:
        return _prefixed("replay", source.replay, leave_out={"volume_claim", "config_map"})
    if source.kind == "Simulated":
        return _prefixed("simulation", source.simulated)
    return _prefixed(source.kind.lower(), source.exchange) if source.exchange is not None else {}


def _to_feature_store(
    service: Service,
    group: Literal["technical_indicators", "news_signals"],
    spec: PricePipelineSpec,
    backends: Backends,
    common: dict[str, Any],
) -> ServiceProcess:
    settings = s.ToFeatureStoreSettings(**common, **_feature_store(spec), group=group)
    return ServiceProcess(service, settings, backends.features())


def _news_processes(
    spec: PricePipelineSpec, news: News, backends: Backends, common: dict[str, Any], news_model: str
) -> list[ServiceProcess]:
    reader = s.NewsSettings(**common, poll_seconds=news.poll_seconds, coins=news.coins, **_news_sources(news))
    key = news.crypto_panic.api_key_secret_ref if news.crypto_panic is not None else None
    model = signal_model(news, news_model)
    given: dict[str, Any] = {"coins": news.coins} if news.coins else {}
    if news.signals.url:
        given["ollama_url" if news.signals.provider == "Ollama" else "openai_url"] = news.signals.url
    if news.signals.encoder is not None:
        given |= _prefixed("encoder", news.signals.encoder)
    # Until the FinetuneJob that is named has published its model, the word list reads.
    provider = "lexicon" if model == LEXICON else news.signals.provider.lower()
    signals = s.NewsSignalSettings(**common, **given, provider=provider, model=model)
    access = {**backends.news_cache(), **_secret("API_KEY", news.signals.api_key_secret_ref)}
    return [
        ServiceProcess(services.NEWS, reader, _secret("CRYPTOPANIC_API_KEY", key), finite=reader.source == ["archive"]),
        ServiceProcess(services.NEWS_SIGNAL, signals, access),
        _to_feature_store(services.NEWS_FEATURES, "news_signals", spec, backends, common),
    ]


def _news_sources(news: News) -> dict[str, Any]:
    """Returns the settings of the sources that news comes from: feeds, where none is given."""
    blocks = {
        "rss": {} if news.rss is None else _prefixed("rss", news.rss),
        "cryptopanic": {} if news.crypto_panic is None else {"cryptopanic_url": news.crypto_panic.url},
        "gdelt": {} if news.gdelt is None else _prefixed("gdelt", news.gdelt),
        "archive": {} if news.archive is None else {"archive": news.archive.location},
    }
    given = {name: settings for name, settings in blocks.items() if settings}
    return {"source": list(given) or ["rss"], **{key: value for each in given.values() for key, value in each.items()}}


def _secret(variable: str, ref: SecretKeyRef | None) -> dict[str, SecretKeyRef]:
    return {} if ref is None else {variable: ref}


def signal_model(news: News, published: str = "") -> str:
    """Returns the name of the model that reads the news: a fine-tuned one once it is published."""
    if news.signals.finetune_job and published:
        return published
    return news.signals.model or (ENCODER if news.signals.provider == "Encoder" else LEXICON)


def _predictor_processes(
    spec: PricePipelineSpec, backends: Backends, common: dict[str, Any], news_model: str
) -> list[ServiceProcess]:
    settings = s.PricePredictorSettings(
        **common,
        **_feature_store(spec),
        **_model_registry(spec),
        prediction_store=backends.prediction_store,
        pairs=spec.pairs[:PAIRS_EACH],
        companion_pairs=spec.features.companion_pairs,
        candle_seconds=spec.candles.seconds,
        horizons_seconds=spec.prediction.horizons_seconds,
        levels=spec.prediction.levels,
        simulated=spec.source.kind == "Simulated",
        live=spec.source.replay is None and spec.source.mode != "Historical",
        training_lookback_days=seconds(spec.training.lookback) / 86_400,
        model_kinds=spec.models.kinds,
        **_prefixed("rollback", spec.models.rollback),
        **_prefixed("promotion", spec.models.promotion, leave_out={"maximum_age"}),
        promotion_maximum_age_days=seconds(spec.models.promotion.maximum_age) / 86_400,
        abstain_distance=spec.models.abstain_distance,
        **_prefixed("training", spec.training, leave_out={"schedule", "lookback"}),
        news_model=signal_model(spec.news, news_model) if spec.news is not None else "",
    )
    access = {**backends.features(), **backends.models(), **backends.predictions()}
    pinned = {} if spec.models.pinned is None else {"pinned_version": spec.models.pinned}
    parts = {1: settings}
    for number, start in enumerate(range(PAIRS_EACH, len(spec.pairs), PAIRS_EACH), start=2):
        parts[number] = settings.model_copy(update={"pairs": spec.pairs[start : start + PAIRS_EACH], "part": number})
    rows: list[tuple[Service, str, dict[str, Any]]] = [
        (services.TRAIN, "", {}),
        (services.RETRAIN, spec.training.schedule, {}),
        (services.PRICE_PREDICTOR, "", pinned),
    ]
    return [
        ServiceProcess(services.part(row, number), told.model_copy(update=more), access, schedule=schedule, part=number)
        for row, schedule, more in rows
        for number, told in parts.items()
    ]


def _feature_store(spec: PricePipelineSpec) -> dict[str, Any]:
    """Returns the settings of the feature store, less its secrets."""
    store, secrets = spec.storage.features, {"api_key_secret_ref", "ca_secret_ref"}
    project = {} if store.hopsworks is None else _prefixed("hopsworks", store.hopsworks, leave_out=secrets)
    return {"feature_store": _store_kind(store.kind), **project}


def _model_registry(spec: PricePipelineSpec) -> dict[str, Any]:
    """Returns the settings of the model registry, less its secrets."""
    models = spec.storage.models
    project = {} if models.comet is None else _prefixed("comet", models.comet, leave_out={"api_key_secret_ref"})
    return {"model_registry": _store_kind(models.kind), **project}


def _store_kind(kind: str) -> str:
    return kind.lower()
