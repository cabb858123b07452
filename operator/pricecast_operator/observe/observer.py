"""Looks at Kafka, the model registries and the prediction stores, for all pipelines at once.

Few calls however many pipelines: one round for each broker, registry and store. All of it blocks, so it runs in a
thread. What can't be reached comes back as a `Problem`, for the pipelines that use it, and as nothing worse.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pricecast_core.errors import PricecastError
from pricecast_core.messages import Prediction
from pricecast_core.stores.models import ModelRegistry, ModelVersion
from pricecast_core.stores.predictions import PredictionStore
from pricecast_operator.observe.kafka import Topics, TopicsError
from pricecast_operator.observe.observed import Problem

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_MESSAGE_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Target:
    """What to look at for one pipeline.

    Attributes:
        key: The pipeline's namespace and name.
        brokers: Kafka's bootstrap servers.
        topics: Its topics.
        registry_url: SQLAlchemy URL of the model registry; None where it is not known, empty where it is not in SQL.
        models: Names of its models.
        store_url: Address of Elasticsearch.
        store_key: API key of Elasticsearch.
    """

    key: tuple[str, str]
    brokers: str
    topics: tuple[str, ...]
    registry_url: str | None
    models: tuple[str, ...]
    store_url: str
    store_key: str | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen for one pipeline."""

    missing_topics: frozenset[str]
    lag: Mapping[str, int] | Problem
    models: Mapping[str, ModelVersion] | Problem
    predictions: Sequence[Prediction] | Problem


class Observer:
    """Looks at what pipelines use, keeping connections.

    Args:
        topics: Kafka's admin API.
        open_registry: Opens a model registry by URL.
        open_store: Opens a prediction store by URL and API key.
    """

    def __init__(
        self,
        topics: Topics,
        open_registry: Callable[[str], ModelRegistry],
        open_store: Callable[[str, str | None], PredictionStore],
    ) -> None:
        self._topics = topics
        self._open_registry = open_registry
        self._open_store = open_store
        self._opened: dict[Any, Any] = {}

    def look(self, targets: Sequence[Target]) -> dict[tuple[str, str], Sight]:
        """Returns what was seen, by pipeline. Blocks."""
        lags = _each(targets, lambda target: target.brokers, self._lags)
        missing = _each(targets, lambda target: target.brokers, self._missing)
        models = _each(targets, lambda target: target.registry_url, self._models)
        predictions = _each(targets, lambda target: (target.store_url, target.store_key), self._predictions)
        sights = {}
        for target in targets:
            seen = predictions[target.key]
            absent = missing[target.key]
            known = models[target.key]
            sights[target.key] = Sight(
                missing_topics=frozenset() if isinstance(absent, Problem) else absent,
                lag=lags[target.key],
                models=_from_predictions(seen) if known is None else known,
                predictions=seen,
            )
        return sights

    def close(self) -> None:
        """Gives back connections."""
        for opened in self._opened.values():
            opened.close()

    def _lags(self, brokers: str, targets: Sequence[Target]) -> Callable[[Target], Mapping[str, int]]:
        found = self._topics.lags(brokers, [target.key[1] for target in targets])
        return lambda target: found[target.key[1]]

    def _missing(self, brokers: str, targets: Sequence[Target]) -> Callable[[Target], frozenset[str]]:
        absent = self._topics.missing(brokers, [topic for target in targets for topic in target.topics])
        return lambda target: frozenset(absent.intersection(target.topics))

    def _models(
        self, url: str | None, targets: Sequence[Target]
    ) -> Callable[[Target], Mapping[str, ModelVersion] | Problem | None]:
        if url is None:
            problem = Problem("SecretMissing", "the Secret of storage.models.urlSecretRef, or its key, does not exist")
            return lambda _: problem
        if not url:
            return lambda _: None
        registry = self._open(("registry", url), lambda: self._open_registry(url))
        found = registry.production([name for target in targets for name in target.models])
        return lambda target: {name: found[name] for name in target.models if name in found}

    def _predictions(
        self, store: tuple[str, str | None], targets: Sequence[Target]
    ) -> Callable[[Target], Sequence[Prediction]]:
        opened = self._open(("store", store), lambda: self._open_store(*store))
        of_pipeline: dict[str, list[Prediction]] = {}
        for prediction in opened.latest():
            of_pipeline.setdefault(prediction.pipeline, []).append(prediction)
        return lambda target: of_pipeline.get(target.key[1], [])

    def _open(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._opened:
            self._opened[key] = make()
        return self._opened[key]


def _each(
    targets: Iterable[Target], part: Callable[[Target], K], look: Callable[[K, Sequence[Target]], Callable[[Target], T]]
) -> dict[tuple[str, str], T | Problem]:
    """Looks once for each distinct part, and hands every target what is its own."""
    groups: dict[K, list[Target]] = {}
    for target in targets:
        groups.setdefault(part(target), []).append(target)
    seen: dict[tuple[str, str], T | Problem] = {}
    for key, members in groups.items():
        try:
            answer = look(key, members)
            seen.update((target.key, answer(target)) for target in members)
        except PricecastError as error:
            problem = Problem(_reason(look.__name__, error), " ".join(str(error).split())[:_MESSAGE_CHARACTERS])
            seen.update((target.key, problem) for target in members)
    return seen


def _reason(look: str, error: PricecastError) -> str:
    if isinstance(error, TopicsError):
        return error.reason
    return {"_models": "RegistryUnreachable", "_predictions": "ElasticsearchUnreachable"}.get(look, "Unreachable")


def _from_predictions(seen: Sequence[Prediction] | Problem) -> Mapping[str, ModelVersion] | Problem:
    """Returns the models that predictions name, where the registry is not in SQL."""
    if isinstance(seen, Problem):
        return seen
    return {
        each.model_name: ModelVersion(
            model_name=each.model_name,
            version=each.model_version,
            stage="production",
            reason="",
            created_at_ms=0,
            trained_through_ms=each.model_trained_through_ms,
            metrics={
                name: value
                for name, value in (
                    ("distribution_skill", each.distribution_skill),
                    ("point_skill", each.point_skill),
                )
                if value is not None
            },
        )
        for each in seen
        if each.model_version
    }
