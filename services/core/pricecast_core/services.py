"""The table of services: what each is, once, for all who start, render, watch or describe one.

From a row follow the process in a plan, its Deployment or Job, image, command, default resources and network policy,
the topics that are made, the consumer group whose lag is told, and docs/reference/services.md. A row is one role that
a pipeline has: one program can have several, as the predictor trains and serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pricecast_core import settings as s
from pricecast_core import topics
from pricecast_core.topics import TopicSpec

_STREAM_REQUESTS: Mapping[str, str] = {"cpu": "50m", "memory": "192Mi"}
_STREAM_LIMITS: Mapping[str, str] = {"memory": "512Mi"}
_TRAINING_REQUESTS: Mapping[str, str] = {"cpu": "250m", "memory": "512Mi"}
_TRAINING_LIMITS: Mapping[str, str] = {"memory": "2Gi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One row.

    Attributes:
        name: Name within a pipeline; also its key in `spec.services`. None ends in a hyphen and another, or the objects
            of a pipeline `btc` could bear the names of those of a pipeline `btc-news`.
        program: The command is `pricecast-<program>`, the image carries the same name.
        args: Arguments of the command.
        settings: The class of its settings. Whom it may talk to follows from them: the brokers, the secret URLs and
            their `addresses`.
        kind: `stream` runs for ever, `job` runs to its end, `schedule` runs to its end at the times of a cron
            expression.
        owner: What declares it: a PricePipeline, a FinetuneJob, or the chart.
        reads: The topics that it reads.
        writes: The topics that it writes, beside the dead letters.
        group: Its consumer group is `<pipeline>.<group>`; the name in its metrics and logs. Its lag is told.
        scalable: True if several replicas share the work, up to the partitions.
        alone: True if an old and a new replica must never run at once.
        optional: True if the price forecast goes on without it.
        requests: CPU and memory guaranteed, unless the spec says otherwise; as Kubernetes writes them.
        limits: The most.
    """

    name: str
    program: str
    args: tuple[str, ...] = ()
    settings: type[s.ServiceSettings]
    kind: Literal["stream", "job", "schedule"] = "stream"
    owner: Literal["PricePipeline", "FinetuneJob", "chart"] = "PricePipeline"
    reads: tuple[TopicSpec, ...] = ()
    writes: tuple[TopicSpec, ...] = ()
    group: str = ""
    scalable: bool = False
    alone: bool = False
    optional: bool = False
    requests: Mapping[str, str] = field(default_factory=lambda: _STREAM_REQUESTS)
    limits: Mapping[str, str] = field(default_factory=lambda: _STREAM_LIMITS)

    @property
    def command(self) -> tuple[str, ...]:
        """The command that starts it."""
        return (f"pricecast-{self.program}", *self.args)

    @property
    def destinations(self) -> list[str]:
        """What it talks to, in the words of its settings: Kafka, and all that has a URL."""
        urls = [name for name in self.settings.model_fields if name.endswith(("_url", "_urls"))]
        kafka = ["Kafka"] if "kafka_brokers" in self.settings.model_fields else []
        return [*kafka, *(name.removesuffix("s").removesuffix("_url").replace("_", " ") for name in urls)]


TRADES = Service(
    name="trades",
    program="trades",
    settings=s.TradesSettings,
    writes=(topics.TRADES, topics.CANDLES),
    group="trades",
    alone=True,
)
CANDLES = Service(
    name="candles",
    program="candles",
    settings=s.CandlesSettings,
    reads=(topics.TRADES,),
    writes=(topics.CANDLES,),
    group="candles",
    scalable=True,
)
TECHNICAL_INDICATORS = Service(
    name="technical-indicators",
    program="technical-indicators",
    settings=s.TechnicalIndicatorsSettings,
    reads=(topics.CANDLES,),
    writes=(topics.TECHNICAL_INDICATORS,),
    group="technical-indicators",
    scalable=True,
)
TO_FEATURE_STORE = Service(
    name="to-feature-store",
    program="to-feature-store",
    settings=s.ToFeatureStoreSettings,
    reads=(topics.TECHNICAL_INDICATORS,),
    writes=(topics.FEATURES,),
    group="to-feature-store-technical-indicators",
    scalable=True,
)
NEWS = Service(name="news", program="news", settings=s.NewsSettings, writes=(topics.NEWS,), group="news", optional=True)
NEWS_SIGNAL = Service(
    name="news-signal",
    program="news-signal",
    settings=s.NewsSignalSettings,
    reads=(topics.NEWS,),
    writes=(topics.NEWS_SIGNALS,),
    group="news-signal",
    scalable=True,
    optional=True,
)
NEWS_FEATURES = Service(
    name="news-features",
    program="to-feature-store",
    settings=s.ToFeatureStoreSettings,
    reads=(topics.NEWS_SIGNALS,),
    writes=(topics.FEATURES,),
    group="to-feature-store-news-signals",
    scalable=True,
    optional=True,
)
PRICE_PREDICTOR = Service(
    name="price-predictor",
    program="price-predictor",
    args=("serve",),
    settings=s.PricePredictorSettings,
    reads=(topics.FEATURES,),
    writes=(topics.PREDICTIONS,),
    group="price-predictor",
    requests={"cpu": "100m", "memory": "256Mi"},
    limits={"memory": "1Gi"},
)
TRAIN = Service(
    name="train",
    program="price-predictor",
    args=("train",),
    settings=s.PricePredictorSettings,
    kind="job",
    reads=(topics.FEATURES,),
    group="price-predictor-train",
    requests=_TRAINING_REQUESTS,
    limits=_TRAINING_LIMITS,
)
RETRAIN = Service(
    name="retrain",
    program="price-predictor",
    args=("train",),
    settings=s.PricePredictorSettings,
    kind="schedule",
    reads=(topics.FEATURES,),
    group="price-predictor-train",
    requests=_TRAINING_REQUESTS,
    limits=_TRAINING_LIMITS,
)
FINETUNE = Service(
    name="finetune",
    program="finetune",
    settings=s.FinetuneSettings,
    kind="job",
    owner="FinetuneJob",
    requests={"cpu": "1", "memory": "3Gi"},
    limits={},
)
PREDICTION_API = Service(
    name="prediction-api",
    program="prediction-api",
    settings=s.PredictionApiSettings,
    owner="chart",
    requests={},
    limits={},
)

ALL = (
    TRADES,
    CANDLES,
    TECHNICAL_INDICATORS,
    TO_FEATURE_STORE,
    NEWS,
    NEWS_SIGNAL,
    NEWS_FEATURES,
    PRICE_PREDICTOR,
    TRAIN,
    RETRAIN,
    FINETUNE,
    PREDICTION_API,
)
"""Every service, in the order in which data flows."""


def part(service: Service, number: int) -> Service:
    """Returns the row of one of the processes among which a service's pairs are shared out; the first is the service."""
    if number == 1:
        return service
    return replace(service, name=f"{service.name}-{number}", group=f"{service.group}-{number}")


def of_pipelines() -> list[Service]:
    """Returns what a PricePipeline can run; their names are the keys of `spec.services`."""
    return [service for service in ALL if service.owner == "PricePipeline"]


def price_path() -> list[Service]:
    """Returns the streams that a price forecast can't do without, in the order in which data flows."""
    return [service for service in of_pipelines() if service.kind == "stream" and not service.optional]


def news_path() -> list[Service]:
    """Returns the streams that news comes through, in the order in which data flows."""
    return [service for service in of_pipelines() if service.kind == "stream" and service.optional]


def upstream(topic: TopicSpec) -> list[Service]:
    """Returns the services of the price path that a topic's messages come through, in the order in which data flows."""
    found: list[Service] = []
    wanted = {topic.name}
    for service in reversed(price_path()):
        if any(written.name in wanted for written in service.writes):
            found.insert(0, service)
            wanted |= {read.name for read in service.reads}
    return found


def topics_of(services: Iterable[Service]) -> list[TopicSpec]:
    """Returns the topics that these services read and write, and the dead letters."""
    used = {topic.name for service in services for topic in (*service.reads, *service.writes)}
    return [topic for topic in topics.ALL if topic.name in used or topic is topics.DEAD_LETTERS]


def flow(topic: TopicSpec) -> str:
    """Returns who writes a topic and who reads it, in words."""
    writers = [service.name for service in ALL if topic in service.writes]
    readers = [service.name for service in ALL if topic in service.reads]
    return f"{', '.join(writers) or 'any'} -> {', '.join(readers) or 'who wants them'}"
